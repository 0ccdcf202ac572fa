"""The frozen parts a run starts from, checked against the task."""

import importlib.resources
import json
import pathlib
from typing import Any

from rlt_jax.rl_token import rl_token
from rlt_jax.sim import camera
from rlt_jax.tasks.ethernet import scene
from rlt_jax.training.config import PracticeConfig
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.vla import FrozenVla


def load(
  folder: str, config: PracticeConfig
) -> tuple[FrozenVla, rl_token.RlToken, dict[str, Any]]:
  """Loads the frozen VLA, its token and the token's measured diagnostics.

  Args:
    folder: holds vla/ and token/; empty for the shipped ones.
    config: of the run.

  Raises:
    ValueError: what does not fit, by name.
  """
  if folder:
    vla_dir = pathlib.Path(folder) / 'vla'
    token_dir = pathlib.Path(folder) / 'token'
  else:
    package = pathlib.Path(str(importlib.resources.files('rlt_jax')))
    vla_dir = package / 'vlas' / 'pi_small' / 'assets' / 'ethernet'
    token_dir = package / 'rl_token' / 'assets' / 'ethernet'
  for path in (vla_dir, token_dir):
    if not path.is_dir():
      raise ValueError(f'Assets must be a folder that exists: {path}.')
  vla = pi_vla.load(
    vla_dir,
    expect={
      'cameras': scene.CAMERAS,
      'image_size': camera.IMAGE_SIZE,
      'proprio_dim': scene.PROPRIO_DIM,
      'action_dim': scene.ACTION_DIM,
    },
  )
  if vla.spec.horizon < config.inference_delay + max(
    config.chunk_size, config.open_loop_steps
  ):
    raise ValueError(
      "chunk and open_loop_steps, after delay, must fit in the VLA's horizon "
      f'{vla.spec.horizon}: {config.chunk_size}, {config.open_loop_steps}, '
      f'{config.inference_delay}.'
    )
  token = rl_token.load(token_dir, vla_fingerprint=vla.spec.fingerprint)
  record = json.loads((token_dir / 'token.json').read_text())
  return vla, token, record['metrics']
