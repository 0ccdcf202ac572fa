"""The interface of an arm, and the contents of its file.

An `Arm` is everything that one action vector moves: two arms with grippers
are one `Arm` with fourteen entries. Positions and commands are absolute joint
targets in `ArmSpec.joint_units` (rad, grippers m), in `joint_names` order.
"""

import dataclasses
import math
import pathlib
import re
from typing import NamedTuple, Protocol

import numpy as np

from rlt_jax import config as config_lib


class Reading(NamedTuple):
  """One observation of the joints.

  position: float64 [A]. velocity: float64 [A], units per s. time: s, by the
  loop's clock, when it was measured.
  """

  position: np.ndarray
  velocity: np.ndarray
  time: float


class ArmError(Exception):
  """A call to the arm failed; the message has the call and the reason."""


class Arm(Protocol):
  """A driver. Every method may raise `ArmError`; none may block for long.

  connect: opens the device and imports the vendor's package, which only the
    users of this arm need. Nothing moves.
  observe: the newest Reading.
  command: sends joint targets [A] and returns those really sent [A].
  hold: stays where it is, under power, until commanded again.
  stow: moves slowly to the arm's stow pose; returns True once there. Called
    again at every control step until then.
  disable: takes the power off; the arm may fall. Only after stow.
  disconnect: closes the device; never moves it.
  """

  spec: 'ArmSpec'

  def connect(self) -> None: ...  # noqa: D102

  def observe(self) -> Reading: ...  # noqa: D102

  def command(self, target: np.ndarray) -> np.ndarray: ...  # noqa: D102

  def hold(self) -> None: ...  # noqa: D102

  def stow(self) -> bool: ...  # noqa: D102

  def disable(self) -> None: ...  # noqa: D102

  def disconnect(self) -> None: ...  # noqa: D102


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
  """The kinematic chain from base to tip, for the workspace limit.

  origins: [n][3] m, of joint i in the frame of the one before it. axes:
  [n][3] unit vectors, of rotation. tip: [3] m, in the last joint's frame.
  base: [3] m, of the arm in the workspace's frame. joints: [n] names.
  low, high: [3] m, the box that the tip must stay in.
  """

  joints: tuple[str, ...]
  base: tuple[float, ...]
  origins: tuple[tuple[float, ...], ...]
  axes: tuple[tuple[float, ...], ...]
  tip: tuple[float, ...]
  low: tuple[float, ...]
  high: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmSpec:
  """An arm's file: names, units, and every safety limit.

  Nothing has a default: every limit must be decided for the arm at hand.
  """

  name: str
  joint_names: tuple[str, ...]  # [A]
  joint_units: tuple[str, ...]  # [A], 'rad' or 'm'
  joint_low: tuple[float, ...]  # [A]
  joint_high: tuple[float, ...]  # [A]
  max_step: tuple[float, ...]  # [A] between a command and the measured pose
  max_velocity: tuple[float, ...]  # [A] per s, between commands
  chains: tuple[Chain, ...]  # one per tip; empty: no workspace limit
  stow: tuple[float, ...]  # [A] the stow pose
  max_observation_age_s: float
  max_action_age_s: float

  def __post_init__(self):
    # The lock of the arm has its name.
    if not re.fullmatch(r'[A-Za-z0-9_-][A-Za-z0-9._-]*', self.name):
      raise ValueError(
        f'name must be of letters, digits, and ".", "_", "-": {self.name!r}.'
      )
    num = len(self.joint_names)
    if not num or len(set(self.joint_names)) != num:
      raise ValueError(f'joint_names must be distinct: {self.joint_names}.')
    for name in (
      'joint_units', 'joint_low', 'joint_high', 'max_step', 'max_velocity',
      'stow',
    ):  # fmt: skip
      value = getattr(self, name)
      if len(value) != num:
        raise ValueError(
          f'{name} must have an entry per joint, {num}: {len(value)}.'
        )
      if name == 'joint_units':
        if set(value) - {'rad', 'm'}:
          raise ValueError(f"joint_units must be 'rad' or 'm': {value}.")
      elif not all(math.isfinite(x) for x in value):
        raise ValueError(f'{name} must be finite: {value}.')
    for name in ('max_step', 'max_velocity'):
      if min(getattr(self, name)) <= 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    for name in ('max_observation_age_s', 'max_action_age_s'):
      value = getattr(self, name)
      if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f'{name} must be positive: {value}.')
    for i, joint in enumerate(self.joint_names):
      if not self.joint_low[i] < self.joint_high[i]:
        raise ValueError(
          f'joint_low must be below joint_high for {joint}: '
          f'{self.joint_low[i]} and {self.joint_high[i]}.'
        )
      if not self.joint_low[i] <= self.stow[i] <= self.joint_high[i]:
        raise ValueError(
          f'stow must be inside the limits of {joint}, {self.joint_low[i]} '
          f'to {self.joint_high[i]}: {self.stow[i]}.'
        )

  @property
  def action_dim(self) -> int:
    """A."""
    return len(self.joint_names)


def load_spec(path: str | pathlib.Path) -> ArmSpec:
  """Reads an arm's JSON file.

  Raises:
    ValueError: a field is missing or unknown, or breaks its rule; the text
      names the file and the field.
  """
  path = pathlib.Path(path)
  try:
    return config_lib.from_json(ArmSpec, path.read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None
