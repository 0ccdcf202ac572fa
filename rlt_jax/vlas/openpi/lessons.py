"""Demonstrations as π0 and π0.5 learn from them: checks, statistics, actions.

The letter F counts frames, H steps of a chunk, A joints of the robot, n those
that the checkpoint moves.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.openpi import robot_map
from rlt_jax.vlas.openpi import statistics as statistics_lib
from rlt_jax.vlas.openpi.config import OpenpiConfig

# Below it a joint rests. Divided by its range, noise would be large numbers.
_RANGE = {'rad': 1e-3, 'm': 2e-4}
_BLOCK = 4096  # frames whose actions are mapped at a time


def fit_horizon(demos: Demos, config: OpenpiConfig) -> Demos:
  """Returns demonstrations with the first H steps of their chunks.

  Raises:
    ValueError: chunks that are shorter, other joints, or other actions.
  """
  for name, value, expected in (
    ('action_mode', demos.action_mode, 'offset'),
    ('joint_names', tuple(demos.joint_names), tuple(config.joint_order)),
  ):
    if value != expected:
      raise ValueError(
        f'Demonstrations must have {name} {expected} to train this VLA: '
        f'{value}.'
      )
  frames, H = demos.frames, config.horizon
  if frames.chunk.shape[1] < H:
    raise ValueError(
      f'Demonstrations must have chunks of at least horizon steps, {H}: '
      f'{frames.chunk.shape[1]}. Record them with make_demos --horizon={H}.'
    )
  frames = frames._replace(
    chunk=frames.chunk[:, :H], chunk_valid=frames.chunk_valid[:, :H]
  )
  return dataclasses.replace(demos, frames=frames)


def measure(
  demos: Demos, rows: np.ndarray, config: OpenpiConfig
) -> statistics_lib.Statistics:
  """Measures states and actions as openpi's compute_norm_stats does.

  Args:
    demos: of `fit_horizon`.
    rows: of the frames that train.
    config: of the VLA.

  Raises:
    ValueError: a joint that rests though it is to move, or the reverse.
  """
  space = robot_map.make(config.joints, config.joint_order)
  scale = np.float32(demos.action_scale)
  light = demos_lib.take(demos.frames._replace(images={}), rows)
  _check_resting(light, demos, config)
  states, actions = [], []
  for i in range(0, len(rows), _BLOCK):
    pose, chunk = light.proprio[i : i + _BLOCK], light.chunk[i : i + _BLOCK]
    pose = pose[:, : len(scale)]
    states.append(np.asarray(space.state(pose)))
    targets = space.actions(pose[:, None] + chunk * scale, pose)
    actions.append(np.asarray(targets).reshape(-1, len(config.joints)))
  found = statistics_lib.measure(
    np.concatenate(states), np.concatenate(actions)
  )
  for what, moments in found._asdict().items():
    for i, joint in enumerate(config.joints):
      width = moments.q99[i] - moments.q01[i]
      if width / abs(joint.scale) < _RANGE[joint.unit]:
        raise ValueError(
          f'Every joint of the configuration must move in the demonstrations; '
          f'{joint.name!r} rests, its {what} within {width:.2g}. List it in '
          'resting_joints.'
        )
  return found


def targets(
  batch: DemoBatch, space: robot_map.RobotMap, scale: Array, entries: int
) -> tuple[Array, Array, Array]:
  """Returns poses [B, A], states [B, n] and actions [B, H, n] of a batch.

  Args:
    batch: of demonstrations.
    space: of the configuration.
    scale: [A] rad or m of one unit of the batch's chunks.
    entries: A.
  """
  pose = batch.proprio[:, :entries].astype(jnp.float32)
  commands = pose[:, None] + batch.chunk * scale
  return pose, space.state(pose), space.actions(commands, pose)


def _check_resting(frames, demos, config):
  """Raises a ValueError if a joint that the model holds still moves."""
  for name in config.resting_joints:
    j = config.joint_order.index(name)
    travel = (
      np.sqrt(np.square(frames.chunk[..., j]).mean()) * demos.action_scale[j]
    )
    if travel > _RANGE['rad']:
      raise ValueError(
        f'resting_joints must rest in the demonstrations: {name!r} moves by '
        f'{travel:.2g} rad or m (rms) within a chunk. List it in joints.'
      )
