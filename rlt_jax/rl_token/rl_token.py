"""The trained RL token as one object: spec, weights and files."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.objective import encode
from rlt_jax.types import Array, Params

_WEIGHTS = 'token.safetensors'
_RECORD = 'token.json'


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSpec:
  """What a token takes and gives; compared by name before anything runs.

  vla_fingerprint: of the VLA whose embeddings it was trained on.
  fingerprint: hex digest of weights, statistics and the numbers above.
  """

  token_dim: int
  num_image_tokens: int
  z_dim: int
  vla_fingerprint: str
  fingerprint: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RlToken:
  """A frozen encoder g_phi (Eq. 1), with its decoder for diagnostics.

  params: 'encoder', 'decoder' and 'stats', as `train.Trained` has them.
  """

  spec: TokenSpec
  config: TokenConfig
  params: Params

  def apply(
    self, params: Params, vla_tokens: Array, mask: Array | None = None
  ) -> Array:
    """Returns z_rl [B, Z], unit scale per entry over the training frames.

    Pure and traceable. Language tokens are dropped first: the leading
    num_image_tokens of each row are read, the rest never is.

    Args:
      params: this token's.
      vla_tokens: [B, N, D] of a `VlaOutput`, image tokens first.
      mask: bool [B, N], False is padding; None means that all are visible.
    """
    count, width = self.spec.num_image_tokens, self.spec.token_dim
    if vla_tokens.ndim != 3 or vla_tokens.shape[1] < count:
      raise ValueError(
        f'vla_tokens must be [B, N, D] with N >= {count}: {vla_tokens.shape}.'
      )
    if vla_tokens.shape[2] != width:
      raise ValueError(f'Tokens must be {width} wide: {vla_tokens.shape[2]}.')
    tokens = vla_tokens[:, :count]
    if mask is None:
      mask = jnp.ones(tokens.shape[:2], bool)
    stats = params['stats']
    tokens = stats_lib.standardize(stats, tokens, mask[:, :count])
    z_rl = encode(params, tokens, mask[:, :count], self.config)
    return (z_rl - stats['z_mean']) / stats['z_std']


def make(params: Params, config: TokenConfig, vla_fingerprint: str) -> RlToken:
  """Bundles trained params with the VLA they belong to."""
  spec = TokenSpec(
    token_dim=config.token_dim,
    num_image_tokens=config.num_image_tokens,
    z_dim=config.z_dim,
    vla_fingerprint=vla_fingerprint,
    fingerprint=_digest(params, config, vla_fingerprint),
  )
  return RlToken(spec=spec, config=config, params=params)


def save(
  folder: str | pathlib.Path,
  token: RlToken,
  *,
  metrics: Mapping[str, Any],
  command: Sequence[str],
  seed: int,
) -> None:
  """Writes token.safetensors (float16 weights) and token.json.

  Args:
    folder: created if missing; must not hold a token yet.
    token: with float16-valued weights, so that the files lose nothing.
    metrics: results worth keeping, JSON types.
    command: the command line that trained it.
    seed: of the training.
  """
  folder = pathlib.Path(folder)
  if (folder / _RECORD).exists():
    raise ValueError(f'The folder must not hold a token yet: {folder}.')
  flat = _pack(token.params)
  for name, value in _flatten(token.params).items():
    if not np.array_equal(flat[name].astype(np.float32), value):
      raise ValueError(f'Weights must be float16 values: {name} is not.')
  folder.mkdir(parents=True, exist_ok=True)
  save_file(flat, folder / _WEIGHTS)
  record = {
    'config': dataclasses.asdict(token.config),
    'spec': dataclasses.asdict(token.spec),
    'metrics': dict(metrics),
    'command': list(command),
    'seed': seed,
  }
  (folder / _RECORD).write_text(json.dumps(record, indent=2) + '\n')


def load(folder: str | pathlib.Path, *, vla_fingerprint: str) -> RlToken:
  """Reads a token back, for the VLA it was trained on and no other.

  Args:
    folder: as `save` left it.
    vla_fingerprint: of the VLA at hand, `VlaSpec.fingerprint`.

  Raises:
    ValueError: another VLA's token, or weights that are not the record's.
  """
  folder = pathlib.Path(folder)
  record = json.loads((folder / _RECORD).read_text())
  spec = TokenSpec(**record['spec'])
  if spec.vla_fingerprint != vla_fingerprint:
    raise ValueError(
      'A token serves only the VLA it was trained on, fingerprint '
      f'{spec.vla_fingerprint}: {vla_fingerprint}.'
    )
  flat = load_file(folder / _WEIGHTS)
  params = flax.traverse_util.unflatten_dict(
    {name: jnp.asarray(x, jnp.float32) for name, x in flat.items()}, sep='/'
  )
  token = make(params, TokenConfig(**record['config']), vla_fingerprint)
  if token.spec != spec:
    raise ValueError(
      f'The weights must have the fingerprint {spec.fingerprint} of '
      f'{_RECORD}: {token.spec.fingerprint}.'
    )
  return token


def _flatten(params):
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  return {name: np.asarray(flat[name], np.float32) for name in sorted(flat)}


def _pack(params):
  # Statistics keep float32: a mean may lie outside float16's range.
  return {
    name: x if name.startswith('stats/') else x.astype(np.float16)
    for name, x in _flatten(params).items()
  }


def _digest(params, config, vla_fingerprint):
  numbers = dataclasses.asdict(config)
  digest = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode())
  digest.update(vla_fingerprint.encode())
  for name, value in _pack(params).items():
    digest.update(f'{name}{value.shape}{value.dtype}'.encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  return digest.hexdigest()
