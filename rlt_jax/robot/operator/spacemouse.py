"""A SpaceMouse, which moves the tip of one hand, by pyspacemouse."""

import dataclasses
import math

import numpy as np

from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.clock import Clock, MonotonicClock
from rlt_jax.robot.control import kinematics
from rlt_jax.robot.operator.events import ButtonMap, DeviceError, Event, Kind

# The two side buttons, left and right.
BUTTONS = ButtonMap(down={0: Kind.TAKEOVER, 1: Kind.RELEASE})
_AXES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
_MAX_REPORTS = 64  # more than a mouse sends in one control step
_MAX_SILENCE_S = 0.2  # of a mouse that is deflected; it sends every 8 to 16 ms


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpaceMouseConfig:
  """How the mouse moves the tip of a hand.

  chain: index into the arm's chains. linear_m_s, angular_rad_s: speed at full
  deflection. heading_rad: direction in the workspace in which a push away from
  the operator moves the tip, from y about z. dead_zone: deflections up to this,
  of 1, are ignored. damping: m, of the least squares solution; a larger value
  moves the joints less near a singular pose and is less exact.
  """

  chain: int
  linear_m_s: float
  angular_rad_s: float
  heading_rad: float
  dead_zone: float = 0.05
  damping: float = 0.02

  def __post_init__(self):
    for name in ('linear_m_s', 'angular_rad_s', 'damping'):
      value = getattr(self, name)
      if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f'{name} must be positive: {value}.')
    if not math.isfinite(self.heading_rad):
      raise ValueError(f'heading_rad must be finite: {self.heading_rad}.')
    if not 0.0 <= self.dead_zone < 1.0:
      raise ValueError(f'dead_zone must be in [0, 1): {self.dead_zone}.')


class SpaceMouse:
  """A relative device: the deflection is the speed of the tip.

  Joints outside the chain, such as grippers, stay where they are.
  """

  name = 'spacemouse'

  def __init__(
    self,
    spec: ArmSpec,
    config: SpaceMouseConfig,
    buttons: ButtonMap = BUTTONS,
    *,
    clock: Clock | None = None,
  ):
    """Takes the arm's spec and the map of the buttons.

    Raises:
      ValueError: the arm has no such chain, or a chain that breaks a rule.
    """
    if not 0 <= config.chain < len(spec.chains):
      raise ValueError(
        f'chain must be one of the {len(spec.chains)} of {spec.name}: '
        f'{config.chain}.'
      )
    self._chain = spec.chains[config.chain]
    self._joints = kinematics.chain_joints(spec)[config.chain]
    self._config = config
    self._buttons = buttons
    self._clock = clock or MonotonicClock()
    self._mouse = None
    self._pressed: list[bool] = []
    self._deflection = np.zeros(6)
    self._report = None  # the device's time of the newest report
    self._heard = -math.inf  # s, when that came

  @property
  def kinds(self) -> set[Kind]:
    """The kinds of the events that it can give."""
    return self._buttons.kinds

  def open(self) -> None:
    """Opens the first mouse that is connected.

    Raises:
      DeviceError: the package or the mouse is missing, or the mouse lacks a
        button of the map.
    """
    try:
      import pyspacemouse
    except ImportError:
      raise DeviceError(
        'A SpaceMouse needs the package pyspacemouse and the library '
        "libhidapi: pip install 'pyspacemouse>=2.1'."
      ) from None
    try:
      mouse = pyspacemouse.open(
        axis_convention=pyspacemouse.AxisConvention.HID_Z_UP
      )
    except Exception as error:
      raise DeviceError(f'No SpaceMouse can be opened: {error}') from error
    own = len(mouse.read().buttons)
    missing = sorted(self._buttons.buttons - set(range(own)))
    if missing:
      mouse.close()
      raise DeviceError(
        f'The buttons of {mouse.name} must be 0 to {own - 1}: {missing}.'
      )
    self._mouse, self._pressed = mouse, [False] * own

  def poll(self) -> list[Event]:
    """Reads what the mouse has sent and returns the buttons' events.

    Raises:
      DeviceError: the mouse is not open, or was pulled out.
    """
    if self._mouse is None:
      raise DeviceError('The SpaceMouse must be opened before it is polled.')
    events, now, before = [], self._clock.now(), None
    # A call reads one report, and a mouse sends several per control step: to
    # read one per step would lag further behind the hand with every step.
    for _ in range(_MAX_REPORTS):
      try:
        state = self._mouse.read()
      except Exception as error:
        raise DeviceError(f'The SpaceMouse is gone: {error}') from error
      if state.t == before:
        break
      before = state.t
      if state.t != self._report:
        self._report, self._heard = state.t, now
      pressed = [bool(button) for button in state.buttons]
      for i, (old, new) in enumerate(zip(self._pressed, pressed, strict=True)):
        if old != new:
          events += self._buttons.events(i, new, time=now, device=self.name)
      self._pressed = pressed
      self._deflection = np.array([getattr(state, axis) for axis in _AXES])
    return events

  def pose(self) -> None:
    """Returns None: the mouse gives changes only."""
    return None

  def delta(self, pose: np.ndarray, period_s: float) -> np.ndarray:
    """Returns the change [A] of the joints for the deflection last polled.

    It is zero once the mouse has not reported for 0.2 s.

    Args:
      pose: [A] the arm's, rad, grippers m.
      period_s: for how long the change is.
    """
    config, deflection = self._config, self._deflection
    # A deflected mouse reports all the time: a silent one has lost its link.
    if self._clock.now() - self._heard > _MAX_SILENCE_S:
      deflection = np.zeros(6)
    deflection = np.where(
      np.abs(deflection) > config.dead_zone, deflection, 0.0
    )
    cos, sin = math.cos(config.heading_rad), math.sin(config.heading_rad)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    twist = period_s * np.concatenate(
      [
        config.linear_m_s * turn @ deflection[:3],
        config.angular_rad_s * turn @ deflection[3:],
      ]
    )
    change = np.zeros_like(pose, dtype=float)
    angles = np.asarray(pose)[self._joints]
    change[self._joints] = kinematics.solve_damped(
      kinematics.tip_jacobian(self._chain, angles), twist, config.damping
    )
    return change

  def close(self) -> None:
    """Closes the mouse."""
    mouse, self._mouse = self._mouse, None
    self._deflection = np.zeros(6)
    if mouse is not None:
      mouse.close()
