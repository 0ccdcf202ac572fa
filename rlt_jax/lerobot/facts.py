"""What no checkpoint of LeRobot says: joints, units, rates and the action unit.

All of it comes from the dataset that the policy was trained on and from the
mapping of its numbers. It is measured once and kept in a small JSON file, so
that the server needs no dataset.
"""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.datasets import mapped_recording
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.chunks import MODES
from rlt_jax.datasets.mapped_recording import MappedRecording
from rlt_jax.datasets.mapping import DatasetMapping, JointMap
from rlt_jax.datasets.recording import Recording

STATE, ACTION = 'observation.state', 'action'
# A joint that rests in the data has next to no deviation; dividing by it would
# turn sensor noise into large numbers. Velocities take them per second.
_FLOOR = {'rad': 1e-3, 'm': 2e-4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraFacts:
  """A camera: `camera` is ours, `key` the dataset's; pixels of its pictures."""

  camera: str
  key: str
  height: int
  width: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class VlaFacts:
  """How a robot's numbers are those of a policy.

  joints: of the robot, in its order, with their units in the data.
  state, action: names of the policy's entries, in their order.
  cameras: that the policy was trained on.
  data_hz: rate of the policy's steps, the dataset's fps, 1/s.
  control_hz: rate of the robot's steps; chunks are interpolated to it if
    `resample` is 'linear', and equal to data_hz if it is 'never'.
  action_scale: [A] rad or m of one unit of the reference.
  proprio_mean, proprio_std: [2A] of positions, then velocities.
  """

  joints: tuple[JointMap, ...]
  state: tuple[str, ...]
  action: tuple[str, ...]
  cameras: tuple[CameraFacts, ...]
  data_hz: float
  control_hz: float
  resample: str
  action_scale: tuple[float, ...]
  proprio_mean: tuple[float, ...]
  proprio_std: tuple[float, ...]

  def __post_init__(self):
    joints = [row.joint for row in self.joints]
    for name, value in (
      ('joints', joints),
      ('cameras', [row.camera for row in self.cameras]),
      ('keys of cameras', [row.key for row in self.cameras]),
      ('state', self.state),
      ('action', self.action),
    ):
      if not value or len(set(value)) != len(value):
        raise ValueError(f'{name} must be distinct, at least one: {value}.')
    for name, used, entries in (
      ('state', [row.state for row in self.joints], self.state),
      ('action', [row.action_entry for row in self.joints], self.action),
    ):
      missing = [x for x in used if x not in entries]
      if missing:
        raise ValueError(
          f'{name} must have the entries of the joints, {used}: {missing} are '
          'missing.'
        )
    rest = [x for x in self.state if x not in {r.state for r in self.joints}]
    if rest:
      raise ValueError(
        f'Every entry of the state must be a joint, for the policy reads them '
        f'all: {rest} are none. Add rows to joints of the mapping, or train '
        'the policy on a dataset without them.'
      )
    _check_rates(self)
    for name, size in (
      ('action_scale', len(joints)),
      ('proprio_mean', 2 * len(joints)),
      ('proprio_std', 2 * len(joints)),
    ):
      value = getattr(self, name)
      if len(value) != size or not all(map(math.isfinite, value)):
        raise ValueError(f'{name} must be {size} finite numbers: {value}.')
      if name != 'proprio_mean' and min(value) <= 0.0:
        raise ValueError(f'{name} must be positive: {value}.')

  @property
  def joint_names(self) -> tuple[str, ...]:
    """[A] names of the robot's joints."""
    return tuple(row.joint for row in self.joints)


def _check_rates(facts: VlaFacts) -> None:
  for name in ('data_hz', 'control_hz'):
    if not 0.0 < getattr(facts, name) < math.inf:
      raise ValueError(f'{name} must be positive: {getattr(facts, name)}.')
  if facts.resample not in mapping_lib.RESAMPLE:
    raise ValueError(
      f'resample must be one of {mapping_lib.RESAMPLE}: {facts.resample!r}.'
    )
  if facts.data_hz != facts.control_hz and facts.resample == 'never':
    raise ValueError(
      f"The policy's steps come {facts.data_hz:g} times a second and the "
      f"robot's {facts.control_hz:g}: they must be equal, or 'resample' must "
      "be 'linear', which interpolates the targets."
    )


def measure(
  recording: Recording, mapping: DatasetMapping, say: Any = lambda text: None
) -> VlaFacts:
  """Reads all numbers of a dataset, no pictures, and returns the facts.

  Args:
    recording: what the policy was trained on.
    mapping: of its numbers to the robot's joints, in the robot's order.
    say: called with lines of text, the mapping as it was understood.

  Raises:
    ValueError: what does not fit, by name.
  """
  for name, key in (('state_key', STATE), ('action_key', ACTION)):
    if getattr(mapping, name) != key:
      raise ValueError(
        f"{name} of the mapping must be LeRobot's, {key!r}, which policies "
        f'read: {getattr(mapping, name)!r}.'
      )
  cut = [row.camera for row in mapping.cameras if row.crop is not None]
  if cut:
    raise ValueError(
      'crop must be absent, for LeRobot trains on whole pictures and the '
      f'policy resizes them itself: {cut} have one.'
    )
  mapped = mapped_recording.make(recording, mapping)
  survey = mapped.survey(MODES[0])
  mapped_recording.check(mapped, survey, say)
  mean, std = _moments(mapped)
  return VlaFacts(
    joints=mapping.joints,
    state=tuple(recording.vectors[STATE]),
    action=tuple(recording.vectors[ACTION]),
    cameras=tuple(
      CameraFacts(
        camera=row.camera,
        key=row.key,
        height=int(recording.cameras[row.key][0]),
        width=int(recording.cameras[row.key][1]),
      )
      for row in mapping.cameras
    ),
    data_hz=float(mapped.fps),
    control_hz=float(mapping.control_hz),
    resample=mapping.resample,
    action_scale=survey.action_scale,
    proprio_mean=tuple(map(float, mean)),
    proprio_std=tuple(map(float, std)),
  )


def _moments(mapped: MappedRecording) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and deviation [2A] of positions and velocities."""
  rows, total, square = 0, 0.0, 0.0
  for number in range(len(mapped.kept)):
    motion = mapped.read(number)
    x = np.concatenate([motion.position, motion.velocity], axis=1, dtype='f8')
    rows, total = rows + len(x), total + x.sum(0)
    square = square + np.square(x).sum(0)
  mean = total / rows
  std = np.sqrt(np.maximum(square / rows - np.square(mean), 0.0))
  floor = np.array([_FLOOR[row.robot_unit] for row in mapped.mapping.joints])
  std = np.maximum(std, np.tile(floor, 2))
  return mean.astype(np.float32), std.astype(np.float32)


def load(path: str | pathlib.Path) -> VlaFacts:
  """Reads the file that `save` wrote.

  Raises:
    ValueError: a field is missing, unknown or wrong; the text names the file.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(
      f'There must be a file of facts at {path}. --demos=DATASET '
      '--mapping=FILE make one.'
    )
  try:
    return config_lib.from_json(VlaFacts, path.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None


def save(path: str | pathlib.Path, facts: VlaFacts) -> None:
  """Writes the facts as JSON.

  Raises:
    ValueError: the file holds other facts already.
  """
  path = pathlib.Path(path)
  if path.is_file() and load(path) != facts:
    raise ValueError(
      f'{path} must be new, or hold what was measured now: it holds other '
      'facts. Give another name, or remove it; a token trained with it needs '
      'it.'
    )
  files.write_atomically(path, config_lib.to_json(facts) + '\n')
