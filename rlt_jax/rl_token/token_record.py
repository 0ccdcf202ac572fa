"""The files of an RL token as plain arrays; needs neither JAX nor Flax.

A server in another environment reads a token with it.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import pathlib
from typing import NamedTuple

import numpy as np

from rlt_jax import files, float16
from rlt_jax.rl_token.config import TokenConfig

WEIGHTS = 'token.safetensors'
RECORD = 'token.json'


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


class TokenRecord(NamedTuple):
  """A token from its files.

  arrays: float32 by name, such as 'encoder/in_proj/kernel'.
  """

  spec: TokenSpec
  config: TokenConfig
  arrays: dict[str, np.ndarray]


def make_spec(
  arrays: Mapping[str, np.ndarray], config: TokenConfig, vla_fingerprint: str
) -> TokenSpec:
  """Returns the spec of arrays by name, with their fingerprint."""
  numbers = json.dumps(config.numbers(), sort_keys=True)
  digest = hashlib.sha256(numbers.encode())
  digest.update(vla_fingerprint.encode())
  for name, value in pack(arrays).items():
    digest.update(f'{name}{value.shape}{value.dtype}'.encode())
    digest.update(np.ascontiguousarray(value).tobytes())
  return TokenSpec(
    token_dim=config.token_dim,
    num_image_tokens=config.num_image_tokens,
    z_dim=config.z_dim,
    vla_fingerprint=vla_fingerprint,
    fingerprint=digest.hexdigest(),
  )


def pack(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns arrays as they are stored, in order of name."""
  return float16.pack(arrays, 'stats/')


def read(folder: str | pathlib.Path, *, vla_fingerprint: str) -> TokenRecord:
  """Reads a token, for the VLA it was trained on and no other.

  Args:
    folder: as `rl_token.save` left it.
    vla_fingerprint: of the VLA at hand, `VlaSpec.fingerprint`.

  Raises:
    ValueError: another VLA's token, or weights that are not the record's.
  """
  folder = pathlib.Path(folder)
  record = files.read_json(folder / RECORD)
  try:
    spec = TokenSpec(**record['spec'])
    config = TokenConfig(**record['config'])
  except (KeyError, TypeError) as error:
    raise ValueError(
      f'{folder / RECORD} must hold the spec and config of a token that '
      f'experiments.train_token wrote: {error!r}.'
    ) from None
  if spec.vla_fingerprint != vla_fingerprint:
    raise ValueError(
      'A token serves only the VLA it was trained on, fingerprint '
      f'{spec.vla_fingerprint}: {vla_fingerprint}.'
    )
  arrays = {
    name: np.asarray(x, np.float32)
    for name, x in files.read_arrays(folder / WEIGHTS).items()
  }
  found = make_spec(arrays, config, vla_fingerprint)
  if found != spec:
    raise ValueError(
      f'The weights must have the fingerprint {spec.fingerprint} of '
      f'{RECORD}: {found.fingerprint}.'
    )
  return TokenRecord(spec, config, arrays)
