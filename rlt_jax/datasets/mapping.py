"""The mapping file: what the numbers and cameras of a dataset are to a robot.

A dataset names its numbers as its recorder did and says nothing of their units.
The file says for every joint of the robot which number it is, and in which unit
it was recorded.
"""

from collections.abc import Sequence
import dataclasses
import difflib
import math
import pathlib
from typing import Any

import numpy as np

from rlt_jax import config as config_lib

ACTIONS = 'joint_position'
DIFFERENCES = 'differences'
RESAMPLE = ('never', 'linear')
COLOR_ORDERS = ('rgb', 'bgr')


@dataclasses.dataclass(frozen=True)
class Unit:
  """How a recorded unit becomes rad or m.

  robot_unit: 'rad' or 'm'; '' where the row of the mapping says it.
  factor: robot's unit per recorded one, where that is known.
  low, high: of a range whose ends the row of the mapping gives.
  """

  robot_unit: str
  factor: float | None = None
  low: float = 0.0
  high: float = 0.0


UNITS = {
  'rad': Unit('rad', 1.0),
  'deg': Unit('rad', math.pi / 180.0),
  'm': Unit('m', 1.0),
  'mm': Unit('m', 1e-3),
  'normalized': Unit('', low=-100.0, high=100.0),
  'percent': Unit('', low=0.0, high=100.0),
  'fraction': Unit('', low=0.0, high=1.0),
  'signed_fraction': Unit('', low=-1.0, high=1.0),
}


def _absent(value: Any) -> Any:
  """A field that a file may leave out; `absent` is as JSON has the value."""
  plain = list(value) if isinstance(value, tuple) else value
  return dataclasses.field(default=value, metadata={'absent': plain})


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointMap:
  """A joint of the robot as a number of the dataset.

  joint: name in the robot's specification, or the VLA's.
  state, action: names of the entries that hold its measured and its commanded
    position; action absent is the same as state.
  recorded: unit of both in the dataset, a key of `UNITS`.
  unit: 'rad' or 'm', of the joint; absent where `recorded` says it.
  at_low, at_high: for a range, the joint in `unit` at its ends, such as at 0
    and 100 for 'percent'. at_low may be the larger.
  scale, offset: joint = scale * converted number + offset (rad or m), for
    another sign or zero.
  """

  joint: str
  state: str
  recorded: str
  action: str | None = _absent(None)
  unit: str | None = _absent(None)
  at_low: float | None = _absent(None)
  at_high: float | None = _absent(None)
  scale: float = _absent(1.0)
  offset: float = _absent(0.0)

  def __post_init__(self):
    where = f'of joint {self.joint!r}'
    if self.recorded not in UNITS:
      raise ValueError(
        f'recorded {where} must be one of {list(UNITS)}: {self.recorded!r}.'
      )
    unit, ends = UNITS[self.recorded], (self.at_low, self.at_high)
    if unit.factor is None:
      whole = None not in ends and all(map(math.isfinite, ends))
      if not whole or self.at_low == self.at_high:
        raise ValueError(
          f'at_low and at_high {where} must be two numbers, the joint at '
          f'{unit.low:g} and {unit.high:g}: {ends}.'
        )
      if self.unit not in ('rad', 'm'):
        raise ValueError(
          f"unit {where} must be 'rad' or 'm', that of at_low and at_high: "
          f'{self.unit!r}.'
        )
    else:
      if ends != (None, None):
        raise ValueError(
          f'at_low and at_high {where} are for {_ranges()} only: {ends}.'
        )
      if self.unit not in (None, unit.robot_unit):
        raise ValueError(
          f'unit {where}, recorded in {self.recorded!r}, must be absent or '
          f'{unit.robot_unit!r}: {self.unit!r}.'
        )
    if not self.scale or not all(map(math.isfinite, (self.scale, self.offset))):
      raise ValueError(
        f'scale {where} must be finite and not 0, offset finite: {self.scale} '
        f'and {self.offset}.'
      )

  @property
  def robot_unit(self) -> str:
    """Unit of the joint, 'rad' or 'm'."""
    return self.unit or UNITS[self.recorded].robot_unit

  @property
  def action_entry(self) -> str:
    """Name of the entry with the commands."""
    return self.state if self.action is None else self.action

  def line(self) -> tuple[float, float]:
    """Returns (slope, shift): joint = slope * recorded + shift."""
    unit = UNITS[self.recorded]
    slope, shift = unit.factor, 0.0
    if slope is None:
      slope = (self.at_high - self.at_low) / (unit.high - unit.low)
      shift = self.at_low - slope * unit.low
    return self.scale * slope, self.scale * shift + self.offset


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraMap:
  """A camera of the VLA as one of the dataset.

  camera: the VLA's name. key: the dataset's.
  crop: left edge, upper edge and side, pixels, of the square that the robot's
    cameras cut out too; absent keeps the whole picture, with black added.
  """

  camera: str
  key: str
  crop: tuple[int, int, int] | None = _absent(None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetMapping:
  """Contents of a mapping file.

  joints: in any order; a VLA has its own. Without one, this is the order.
  cameras: those to read.
  unused: entries of state and actions that are no joint of the robot.
  actions: what the actions are; only 'joint_position', absolute targets, fits.
  control_hz: rate of the robot's control steps, 1/s, that of a chunk's steps.
  resample: 'never', or 'linear': chunks are interpolated where the dataset has
    another rate.
  velocities: of the joints, in proprioception: the key of a column with as
    many entries as the state, in recorded units per s; or 'differences' of the
    measured positions, from each row to the one before it.
  state_key, action_key: columns.
  frame_stride: every n-th row is a frame to train on.
  skip_episodes: numbers of episodes to leave out.
  instruction: in place of the dataset's texts.
  remaining_motion: key of a column of 6 numbers, how the tool's tip has yet to
    move (m) and turn (rad) until the end, see `vlas.demos.DemoBatch`.
  fps, color_order: of formats that do not say: rows a second, and 'rgb' or
    'bgr'. Absent for those that do.
  """

  joints: tuple[JointMap, ...]
  cameras: tuple[CameraMap, ...]
  actions: str
  control_hz: float
  resample: str
  velocities: str
  unused: tuple[str, ...] = _absent(())
  state_key: str = _absent('observation.state')
  action_key: str = _absent('action')
  frame_stride: int = _absent(1)
  skip_episodes: tuple[int, ...] = _absent(())
  instruction: str | None = _absent(None)
  remaining_motion: str | None = _absent(None)
  fps: float | None = _absent(None)
  color_order: str | None = _absent(None)

  def __post_init__(self):
    for name, rows in (
      ('joints', [row.joint for row in self.joints]),
      ('state of joints', [row.state for row in self.joints]),
      ('action of joints', [row.action_entry for row in self.joints]),
      ('cameras', [row.camera for row in self.cameras]),
    ):
      if not rows or len(set(rows)) != len(rows):
        raise ValueError(f'{name} must be distinct, at least one: {rows}.')
    if self.actions != ACTIONS:
      raise ValueError(
        f'actions must be {ACTIONS!r}, absolute targets of the joints: '
        f'{self.actions!r}. Velocities and movements of the end effector do '
        'not fit: record the targets that your controller sent to the joints.'
      )
    for name, options in (
      ('resample', RESAMPLE),
      ('color_order', (None, *COLOR_ORDERS)),
    ):
      if getattr(self, name) not in options:
        raise ValueError(
          f'{name} must be one of {options}: {getattr(self, name)!r}.'
        )
    for name in ('control_hz', 'frame_stride', 'fps'):
      value = getattr(self, name)
      if value is not None and not 0 < value < math.inf:
        raise ValueError(f'{name} must be positive: {value}.')
    for row in self.cameras:
      if row.crop is not None and (min(row.crop) < 0 or row.crop[2] < 1):
        raise ValueError(
          f'crop of {row.camera!r} must be left and upper edge and side of a '
          f'square: {row.crop}.'
        )

  @property
  def joint_names(self) -> tuple[str, ...]:
    """Names of the robot's joints, in the order of the file."""
    return tuple(row.joint for row in self.joints)

  def ordered(self, joint_names: Sequence[str]) -> 'DatasetMapping':
    """Returns the mapping with its joints in another order.

    Raises:
      ValueError: the joints differ.
    """
    check_names('joints', self.joint_names, joint_names, "the VLA's")
    rows = {row.joint: row for row in self.joints}
    return dataclasses.replace(
      self, joints=tuple(rows[name] for name in joint_names)
    )


def load(path: str | pathlib.Path) -> DatasetMapping:
  """Reads a mapping file.

  Raises:
    ValueError: a field is missing, unknown or wrong; the text names the file.
  """
  path = pathlib.Path(path)
  try:
    return config_lib.from_json(DatasetMapping, path.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None


def check_names(
  what: str, found: Sequence[str], needed: Sequence[str], whose: str
) -> None:
  """Raises a ValueError unless names are the same, in any order.

  Args:
    what: they are. found: in the mapping. needed: elsewhere.
    whose: the needed ones are.
  """
  missing = [x for x in needed if x not in found]
  extra = [x for x in found if x not in needed]
  if missing or extra:
    raise ValueError(
      f'{what} of the mapping must be {whose}, {list(needed)}: missing '
      f'{missing}, unknown {extra}.{suggest(extra, missing)}'
    )


def suggest(unknown: Sequence[str], known: Sequence[str]) -> str:
  """Returns ' Did you mean ...?' for names that are near others, or ''."""
  pairs = [(x, difflib.get_close_matches(x, known, n=1)) for x in unknown]
  near = [f'{new[0]!r} for {old!r}' for old, new in pairs if new]
  return f' Did you mean {", ".join(near)}?' if near else ''


def convert(
  recorded: np.ndarray,
  entries: Sequence[str],
  rows: Sequence[JointMap],
  *,
  action: bool = False,
  rate: bool = False,
) -> np.ndarray:
  """Returns joints float32 [T, A] (rad, m; with `rate` per s) of a column.

  Args:
    recorded: [T, n] as stored.
    entries: [n] names.
    rows: [A] of the mapping.
    action: whether the column has the commands.
    rate: whether it has velocities, which have no zero to shift.
  """
  names = [row.action_entry if action else row.state for row in rows]
  index = [list(entries).index(name) for name in names]
  slope, shift = np.array([row.line() for row in rows]).T
  joints = recorded[:, index].astype(np.float64) * slope
  return (joints if rate else joints + shift).astype(np.float32)


def _ranges() -> list[str]:
  return [name for name, unit in UNITS.items() if unit.factor is None]
