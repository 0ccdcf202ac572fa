"""Demonstrations as the VLA trains on them: checks and statistics.

The letter F counts frames, over all episodes.
"""

import numpy as np

from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.model import VlaNorm
from rlt_jax.vlas.pi_small.objective import check_motion, targets

# A joint at rest hardly moves; divided by its own deviation its noise would
# weigh as much as the task. No entry counts as quieter than this share of the
# root mean square over the entries it is compared with.
_FLOOR = 0.3


def check(demos: Demos, config: PiConfig) -> None:
  """Raises a ValueError if frames do not fit the config or are not finite."""
  frames, F = demos.frames, len(demos)
  check_motion(frames)
  side, A = config.image_size, config.action_dim
  expected = {
    'proprio': (np.float32, (F, config.proprio_dim)),
    'prompt': (np.int32, (F, config.prompt_length)),
    'chunk': (np.float32, (F, config.horizon, A)),
    'chunk_valid': (np.bool_, (F, config.horizon)),
    'remaining_motion': (np.float32, (F, 6)),
    'episode': (np.int32, (F,)),
  }
  columns = frames._asdict() | {
    f'images/{c}': x for c, x in frames.images.items()
  }
  for camera in config.cameras:
    expected[f'images/{camera}'] = (np.uint8, (F, side, side, 3))
  for name, (dtype, shape) in expected.items():
    x = columns[name]
    if x.dtype != dtype or x.shape != shape:
      raise ValueError(
        f'{name} must be {np.dtype(dtype)} {shape}: {x.dtype} {x.shape}.'
      )
    if x.dtype == np.float32 and not np.isfinite(x).all():
      raise ValueError(f'{name} must be finite: {x[~np.isfinite(x)][:4]}.')
  if len(demos.action_scale) != A:
    raise ValueError(f'action_scale must be [{A}]: {demos.action_scale}.')
  if frames.prompt.min() < 0 or frames.prompt.max() >= config.vocabulary:
    raise ValueError(
      f'prompt ids must be in [0, {config.vocabulary}): '
      f'{frames.prompt.min()} to {frames.prompt.max()}.'
    )


def measure(frames: DemoBatch, config: PiConfig) -> VlaNorm:
  """Measures means and floored deviations for whitening, float32.

  Deviations are floored within groups of one unit and meaning: positions,
  velocities, the commands of one step, moves, turns.
  """
  A = config.action_dim
  target = np.asarray(targets(frames.remaining_motion, config=config))
  proprio_mean, proprio_std = measure_proprio(frames.proprio, A)
  chunk_std = _floored(frames.chunk.std(0, dtype=np.float64), 'chunk')
  target_std = target.std(0, dtype=np.float64).reshape(-1, 3)
  target_std = _floored(target_std, 'targets').reshape(-1)
  norm = VlaNorm(
    proprio_mean=proprio_mean,
    proprio_std=proprio_std,
    chunk_mean=frames.chunk.mean(0, dtype=np.float64),
    chunk_std=chunk_std,
    target_mean=target.mean(0, dtype=np.float64),
    target_std=target_std,
  )
  return VlaNorm(*(x.astype(np.float32) for x in norm))


def measure_proprio(
  proprio: np.ndarray, positions: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and floored deviation of proprioception, float64 [P] each.

  Args:
    proprio: [F, P].
    positions: number of leading entries that are positions; the rest are rates.
  """
  std = proprio.std(0, dtype=np.float64)
  groups = [std[:positions], std[positions:]]
  std = np.concatenate([_floored(x, 'proprio') for x in groups if x.size])
  return proprio.mean(0, dtype=np.float64), std


def _floored(std, name):
  """Floors deviations [..., entries] by their root mean square over entries."""
  level = np.sqrt(np.square(std).mean(-1, keepdims=True))
  if not level.all():
    raise ValueError(f'{name} must differ between frames: deviations {std}.')
  return np.maximum(std, _FLOOR * level)
