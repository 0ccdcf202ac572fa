"""An arm of three joints and a gripper, a clock, and vendors' packages."""

import os
import sys
import types

import pytest

from rlt_jax.robot.arm import ArmSpec, Chain
from rlt_jax.robot.operator.alignment import HandoverConfig
from tests.robot.operator.fake_packages import (
  FakeInput,
  FakeMouse,
  FakePygame,
  KEY_CODES,
)

JOINTS = ('yaw', 'shoulder', 'elbow', 'grip')


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


@pytest.fixture
def mouse(monkeypatch):
  mouse = FakeMouse()
  module = types.SimpleNamespace(
    AxisConvention=types.SimpleNamespace(HID_Z_UP='hid_z_up'),
    open=lambda axis_convention: {'hid_z_up': mouse}[axis_convention],
  )
  monkeypatch.setitem(sys.modules, 'pyspacemouse', module)
  return mouse


@pytest.fixture
def pygame(monkeypatch):
  for name in [n for n in os.environ if n.startswith(('SDL_', 'PYGAME_'))]:
    monkeypatch.delenv(name)
  monkeypatch.setattr(os, 'environ', os.environ.copy())
  module = FakePygame()
  monkeypatch.setitem(sys.modules, 'pygame', module)
  return module


@pytest.fixture
def evdev(monkeypatch):
  ecodes = types.SimpleNamespace(ecodes=KEY_CODES, EV_KEY=1)
  module = types.SimpleNamespace(InputDevice=FakeInput, ecodes=ecodes)
  monkeypatch.setitem(sys.modules, 'evdev', module)
  monkeypatch.setattr(FakeInput, 'busy', False)
  monkeypatch.setattr(FakeInput, 'down', ())
  monkeypatch.setattr(FakeInput, 'keys', (30, 48, 46))
