"""A clock that a test winds, and an arm of four joints that obeys at once."""

import numpy as np

from rlt_jax.robot.arm import ArmError, ArmSpec, Chain, Reading

CHAIN = Chain(
  joints=('a', 'b', 'c'),
  base=(0.0, 0.0, 0.1),
  origins=((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.15, 0.0, 0.0)),
  axes=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.0)),
  tip=(0.1, 0.0, 0.0),
  low=(-0.4, -0.2, 0.02),
  high=(0.4, 0.2, 0.4),
)


def make_arm_spec(**changes) -> ArmSpec:
  fields = {
    'name': 'test-arm',
    'joint_names': ('a', 'b', 'c', 'grip'),
    'joint_units': ('rad', 'rad', 'rad', 'm'),
    'joint_low': (-1.0, -1.0, -1.0, 0.0),
    'joint_high': (1.0, 1.0, 1.0, 0.03),
    'max_step': (0.02, 0.02, 0.02, 0.005),
    'max_velocity': (0.5, 0.5, 0.5, 0.2),
    'chains': (CHAIN,),
    'stow': (0.0, 0.0, 0.0, 0.0),
    'max_observation_age_s': 0.1,
    'max_action_age_s': 0.5,
  }
  return ArmSpec(**(fields | changes))


def make_two_arm_spec() -> ArmSpec:
  """The same arm twice, each with its gripper, as one of eight entries."""
  one = make_arm_spec()
  fields = {
    name: value * 2
    for name, value in vars(one).items()
    if isinstance(value, tuple)
  }
  fields['joint_names'] = (*one.joint_names, 'a2', 'b2', 'c2', 'grip2')
  other = vars(CHAIN) | {'joints': ('a2', 'b2', 'c2'), 'base': (0.0, 0.1, 0.1)}
  fields['chains'] = (CHAIN, Chain(**other))
  return make_arm_spec(**fields)


class Clock:
  """Wakes `late` seconds after each deadline."""

  def __init__(self, time: float = 100.0):
    self.time, self.late = time, 0.0

  def now(self) -> float:
    return self.time

  def sleep_until(self, deadline: float) -> None:
    self.time = max(self.time, deadline + self.late)


class RecordingArm:
  """calls: what was called, in order. faults: method -> errors still due.

  io_s: what a call of `observe` or `command` takes.
  """

  def __init__(self, clock: Clock, **changes):
    self.spec = make_arm_spec(**changes)
    self.position = np.array(self.spec.stow)
    self.calls: list[str] = []
    self.sent: list[np.ndarray] = []
    self.faults: dict[str, int] = {}
    self.io_s = 0.0
    self.stow_calls = 3
    self.clock = clock

  def observe(self) -> Reading:
    self.clock.time += self.io_s
    self._do('observe', record=False)
    return Reading(
      self.position.copy(), np.zeros(len(self.position)), self.clock.now()
    )

  def command(self, target: np.ndarray) -> np.ndarray:
    self.clock.time += self.io_s
    self._do('command')
    self.position = np.array(target)
    self.sent.append(self.position)
    return self.position.copy()

  def hold(self) -> None:
    self._do('hold')

  def stow(self) -> bool:
    self._do('stow')
    self.stow_calls -= 1
    return self.stow_calls <= 0

  def disable(self) -> None:
    self._do('disable')

  def connect(self) -> None:
    self._do('connect')

  def disconnect(self) -> None:
    self._do('disconnect')

  def _do(self, name: str, record: bool = True) -> None:
    if record:
      self.calls.append(name)
    if self.faults.get(name, 0) > 0:
      self.faults[name] -= 1
      raise ArmError(f'{name}: no answer')
