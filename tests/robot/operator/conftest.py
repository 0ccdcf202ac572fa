"""An arm of three joints and a gripper, and a clock that tests move."""

from rlt_jax.robot.arm import ArmSpec, Chain
from rlt_jax.robot.operator.alignment import HandoverConfig

JOINTS = ('yaw', 'shoulder', 'elbow', 'grip')


class FakeClock:
  def __init__(self, time: float = 100.0):
    self.time = time

  def now(self) -> float:
    return self.time

  def sleep_until(self, deadline: float) -> None:
    self.time = max(self.time, deadline)


def make_arm_spec(**changes) -> ArmSpec:
  chain = Chain(
    joints=JOINTS[:3],
    base=(0.1, 0.0, 0.2),
    origins=((0.0, 0.0, 0.1), (0.0, 0.0, 0.05), (0.0, 0.3, 0.0)),
    axes=((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
    tip=(0.0, 0.25, 0.0),
    low=(-1.0, -1.0, -1.0),
    high=(1.0, 1.0, 1.0),
  )
  fields = {
    'name': 'test',
    'joint_names': JOINTS,
    'joint_units': ('rad', 'rad', 'rad', 'm'),
    'joint_low': (-2.0, -2.0, -2.0, 0.0),
    'joint_high': (2.0, 2.0, 2.0, 0.05),
    'max_step': (0.2, 0.2, 0.2, 0.02),
    'max_velocity': (1.0, 1.0, 1.0, 0.1),
    'chains': (chain,),
    'stow': (0.0, 0.0, 0.0, 0.0),
    'max_observation_age_s': 0.1,
    'max_action_age_s': 0.5,
  }
  return ArmSpec(**(fields | changes))


def make_config(**changes) -> HandoverConfig:
  fields = {
    'align_tolerance': (0.05, 0.05, 0.05, 0.002),
    'keep_tolerance': (0.15, 0.15, 0.15, 0.01),
  }
  return HandoverConfig.for_arm(make_arm_spec(), **(fields | changes))
