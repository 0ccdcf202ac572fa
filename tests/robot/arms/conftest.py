import pathlib

import pytest

from rlt_jax.robot import arm
from rlt_jax.robot.arms import base
from tests.robot.fake_clock import FakeClock

SPECS = pathlib.Path(base.__file__).parent / 'specs'


@pytest.fixture
def clock():
  return FakeClock()


@pytest.fixture
def spec():
  """Three joints without a workspace limit."""
  return arm.ArmSpec(
    name='small',
    joint_names=('a', 'b', 'grip'),
    joint_units=('rad', 'rad', 'm'),
    joint_low=(-1.0, -1.0, 0.0),
    joint_high=(1.0, 1.0, 0.03),
    max_step=(0.1, 0.1, 0.01),
    max_velocity=(1.0, 1.0, 0.1),
    chains=(),
    stow=(0.5, 0.0, 0.0),
    max_observation_age_s=0.1,
    max_action_age_s=0.5,
  )
