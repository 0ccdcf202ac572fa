"""The columns that we write into LeRobot datasets, and an episode in them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.format import Feature

SUCCESS = 'next.success'
# How the tool's tip has yet to move, m, and turn, rad; our small VLA learns it.
REMAINING_MOTION = 'complementary_info.remaining_motion'


def make_features(
  joint_names: Sequence[str],
  cameras: Mapping[str, tuple[int, int]],
  *,
  velocities: bool,
  sources: bool,
  remaining_motion: bool = False,
) -> dict[str, Feature]:
  """Returns the features of a dataset.

  Training ignores all but state, action and cameras: names of the others begin
  with neither 'observation' nor 'action', which LeRobot would feed to a policy.

  Args:
    joint_names: [A], the order of state and action.
    cameras: name -> height and width.
    velocities: whether the joints' velocities are known.
    sources: whether it is known who drove.
    remaining_motion: whether the way of the tool's tip is known.
  """
  names = tuple(joint_names)
  joints = Feature('float32', (len(names),), names)
  features = {format_lib.STATE: joints, format_lib.ACTION: joints}
  for name, size in cameras.items():
    features[format_lib.CAMERA_PREFIX + name] = Feature(
      format_lib.IMAGE, (*size, 3), format_lib.HEIGHT_WIDTH_CHANNELS
    )
  if velocities:
    features[format_lib.JOINT_VELOCITY] = joints
  if sources:
    features[format_lib.INTERVENTION] = Feature('bool', (1,))
    features[format_lib.SOURCE] = Feature('int64', (1,))
  if remaining_motion:
    features[REMAINING_MOTION] = Feature(
      'float32', (6,), ('x', 'y', 'z', 'rx', 'ry', 'rz')
    )
  return features | {
    format_lib.REWARD: Feature('float32', (1,)),
    format_lib.DONE: Feature('bool', (1,)),
    SUCCESS: Feature('bool', (1,)),
  }


def end_columns(
  num_frames: int, *, success: bool, terminated: bool
) -> Iterator[dict[str, Any]]:
  """Yields reward, end and success of each frame of an episode.

  Args:
    num_frames: F.
    success: the last frame has the reward of 1.
    terminated: it ends the episode; a time-out or a hold does not.
  """
  for frame in range(num_frames):
    last = frame == num_frames - 1
    yield {
      format_lib.REWARD: np.float32(last and success),
      format_lib.DONE: last and terminated,
      SUCCESS: last and success,
    }
