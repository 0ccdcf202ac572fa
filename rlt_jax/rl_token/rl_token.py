"""The trained RL token as one object: spec, weights and files."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_arrays

from rlt_jax import files
from rlt_jax.rl_token import stats as stats_lib
from rlt_jax.rl_token import token_record
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.objective import encode
from rlt_jax.rl_token.token_record import RECORD, TokenSpec, WEIGHTS
from rlt_jax.types import Array, Params


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
    tokens, mask = self.read(vla_tokens, mask)
    stats = params['stats']
    tokens = stats_lib.standardize(stats, tokens, mask)
    z_rl = encode(params, tokens, mask, self.config)
    return (z_rl - stats['z_mean']) / stats['z_std']

  def read(self, vla_tokens: Array, mask: Array | None) -> tuple[Array, Array]:
    """Returns the tokens [B, num_image_tokens, D] that are read, and mask.

    Args:
      vla_tokens, mask: as `apply`.

    Raises:
      ValueError: tokens of another number or width.
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
    return tokens, mask[:, :count]


def make(params: Params, config: TokenConfig, vla_fingerprint: str) -> RlToken:
  """Bundles trained params with the VLA they belong to."""
  spec = token_record.make_spec(flatten(params), config, vla_fingerprint)
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
  if (folder / RECORD).exists():
    raise ValueError(f'The folder must not hold a token yet: {folder}.')
  flat = token_record.pack(flatten(token.params))
  for name, value in flatten(token.params).items():
    if not np.array_equal(flat[name].astype(np.float32), value):
      raise ValueError(f'Weights must be float16 values: {name} is not.')
  folder.mkdir(parents=True, exist_ok=True)
  files.write_atomically(folder / WEIGHTS, save_arrays(flat))
  record = {
    'config': dataclasses.asdict(token.config),
    'spec': dataclasses.asdict(token.spec),
    'metrics': dict(metrics),
    'command': list(command),
    'seed': seed,
  }
  # Last, since the record is what makes the folder a token.
  text = json.dumps(record, indent=2) + '\n'
  files.write_atomically(folder / RECORD, text)


def load(folder: str | pathlib.Path, *, vla_fingerprint: str) -> RlToken:
  """Reads a token back, for the VLA it was trained on and no other.

  Args:
    folder: as `save` left it.
    vla_fingerprint: of the VLA at hand, `VlaSpec.fingerprint`.

  Raises:
    ValueError: another VLA's token, or weights that are not the record's.
  """
  spec, config, flat = token_record.read(
    folder, vla_fingerprint=vla_fingerprint
  )
  params = flax.traverse_util.unflatten_dict(
    {name: jnp.asarray(x) for name, x in flat.items()}, sep='/'
  )
  return RlToken(spec=spec, config=config, params=params)


def flatten(params: Params) -> dict[str, np.ndarray]:
  """Returns float32 arrays by name, as the files have them."""
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  return {name: np.asarray(flat[name], np.float32) for name in sorted(flat)}
