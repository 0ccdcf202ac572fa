import subprocess
import sys
import unittest

import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.control.loop import LoopConfig
from rlt_jax.robot.control.stop_states import Event, Kind
from rlt_jax.robot.environment import ArmEnvironment
from tests.robot.fake_arm import Clock, StandIn

_HOME = np.zeros(4, np.float32)
_LIMIT = 6


class Cameras:
  shapes = {'base': (4, 4, 3), 'wrist': (4, 4, 3)}

  def __init__(self):
    self.age, self.seen = 0.01, 0

  def observe(self):
    self.seen += 1
    return {
      name: np.full(shape, self.seen % 256, np.uint8)
      for name, shape in self.shapes.items()
    }

  def age_s(self):
    return self.age


class TaskSetup:
  def __init__(self, **changes):
    self.clock = Clock()
    self.arm, self.cameras = StandIn(self.clock), Cameras()
    self.said = None
    fields = {
      'verdict': lambda: self.said,
      'time_limit': _LIMIT,
      'max_camera_age_s': 0.2,
      'config': LoopConfig(hold_ticks=3),
    }
    self.environment = ArmEnvironment(
      self.arm, self.cameras, self.clock, **(fields | changes)
    )

  def steps(self, num, action=_HOME):
    return [self.environment.step(action) for _ in range(num)]


class ContractTest(test_utils.EnvironmentTestMixin, unittest.TestCase):
  """The contract of dm_env, over the end of an episode."""

  def make_object_under_test(self):
    return TaskSetup().environment

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(_LIMIT + 3):
      yield rng.uniform(0.0, 0.01, 4).astype(np.float32)


@pytest.fixture
def cell():
  return TaskSetup()


def test_specs_are_the_simulators_in_kind(cell):
  action = cell.environment.action_spec()
  assert action.name == 'a,b,c,grip' and action.dtype == np.float32
  np.testing.assert_array_equal(action.maximum, np.float32([1, 1, 1, 0.03]))
  assert set(cell.environment.observation_spec()) == {
    'images/base', 'images/wrist', 'proprio'
  }  # fmt: skip
  assert TaskSetup(prompt='insert').environment.prompt == 'insert'


def test_a_step_sends_and_returns_what_is_seen_a_period_later(cell):
  first = cell.environment.reset()
  target = np.array([0.005, 0.0, 0.0, 0.001], np.float32)
  start = cell.clock.time
  step = cell.environment.step(target)
  assert cell.clock.time - start == pytest.approx(0.02)
  np.testing.assert_array_equal(step.observation['proprio'][:4], target)
  np.testing.assert_array_equal(cell.environment.executed, target)
  assert step.observation['proprio'].dtype == np.float32
  assert step.observation['images/base'][0, 0, 0] == (
    first.observation['images/base'][0, 0, 0] + 1
  )
  assert step.reward == 0.0 and step.discount == 1.0


def test_a_slow_policy_is_an_overrun(cell):
  cell.environment.reset()
  cell.clock.time += 0.05
  cell.steps(1)
  assert cell.environment.loop.record.overruns == 2


def test_a_far_target_goes_as_far_as_the_guard_lets_it(cell):
  cell.environment.reset()
  step = cell.environment.step(np.ones(4, np.float32))
  assert step.observation['proprio'][0] == pytest.approx(0.01)
  assert cell.environment.tick.changed.all()


@pytest.mark.parametrize(
  'said, reward, discount',
  [('success', 1.0, 0.0), ('failure', 0.0, 0.0), ('abort', 0.0, 1.0)],
)
def test_a_verdict_ends_the_episode_and_the_arm_holds(
  cell, said, reward, discount
):
  cell.environment.reset()
  cell.steps(2)
  cell.said = said
  step = cell.steps(1)[0]
  assert step.step_type is dm_env.StepType.LAST
  assert (step.reward, step.discount) == (reward, discount)
  assert cell.environment.outcome == said and cell.arm.calls[-1] == 'hold'
  cell.said = None
  assert cell.steps(1)[0].first() and cell.environment.outcome == 'running'


def test_the_time_limit_keeps_its_discount(cell):
  cell.environment.reset()
  steps = cell.steps(_LIMIT)
  assert [step.last() for step in steps] == [False] * (_LIMIT - 1) + [True]
  assert steps[-1].discount == 1.0 and steps[-1].reward == 0.0
  assert cell.environment.outcome == 'time_out'
  assert cell.environment.loop.record.ticks == _LIMIT


def test_prepare_comes_before_every_episode_while_the_arm_holds():
  calls = []
  cell = TaskSetup(prepare=lambda: calls.append(list(cell.arm.calls)))
  cell.environment.reset()
  cell.steps(1)
  cell.environment.reset()
  assert [x[-1] for x in calls] == ['hold', 'hold']


def test_a_frozen_camera_holds_the_arm_and_is_named(cell):
  cell.environment.reset()
  cell.cameras.age = 0.25
  cell.steps(2)
  verdict = cell.environment.tick.verdict
  assert verdict == 'Camera pictures must be at most 0.2 s old: 0.250 s.'
  assert np.isnan(cell.environment.executed).all()
  cell.cameras.age = 0.01
  cell.steps(2)
  assert cell.environment.tick.verdict == ''


def test_an_action_is_as_old_as_the_pictures_it_came_from():
  cell = TaskSetup(max_camera_age_s=9.0)
  cell.cameras.age = 0.55
  cell.environment.reset()
  cell.steps(1)
  assert 'action must be 0 to 0.5 s old: 0.550' in cell.environment.tick.verdict


def test_an_arm_that_stopped_ends_the_episode_until_a_person_resumes(cell):
  cell.environment.reset()
  cell.environment.loop.stop('key')
  step = cell.steps(1)[0]
  assert step.last() and step.discount == 1.0
  assert cell.environment.outcome == 'abort'
  with pytest.raises(ArmError, match='must run before an episode: hold, latch'):
    cell.steps(1)
  cell.environment.loop.post(Event(Kind.CLEAR))
  cell.environment.loop.post(Event(Kind.RESUME))
  assert cell.steps(1)[0].first()
  assert cell.arm.calls.count('command') == 0


def test_a_lost_link_ends_the_episode_with_the_last_reading(cell):
  before = cell.environment.reset().observation['proprio']
  cell.arm.faults['observe'] = 5
  step = cell.steps(1)[0]
  assert step.last() and step.discount == 1.0
  np.testing.assert_array_equal(step.observation['proprio'], before)
  assert cell.arm.calls[-1] == 'hold'


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused(cell, value):
  cell.environment.reset()
  action = _HOME.copy()
  action[2] = value
  message = f'action must be finite: c is {value} at step 0'
  with pytest.raises(ValueError, match=message):
    cell.environment.step(action)
  assert 'command' not in cell.arm.calls
  with pytest.raises(ValueError, match=r'shape \(4,\): \(7,\)'):
    cell.environment.step(np.zeros(7, np.float32))


def test_pictures_and_verdicts_that_break_the_contract_are_refused(cell):
  cell.environment.reset()
  cell.said = 'maybe'
  with pytest.raises(ValueError, match="or 'abort': 'maybe'"):
    cell.steps(1)
  cell.cameras.observe = lambda: {
    name: np.zeros((4, 4, 3)) for name in Cameras.shapes
  }
  with pytest.raises(ValueError, match=r'base must give uint8 \(4, 4, 3\): fl'):
    cell.environment.reset()


def test_close_holds(cell):
  cell.environment.reset()
  cell.steps(1)
  cell.environment.close()
  assert cell.arm.calls == ['hold', 'command', 'hold']
  assert cell.steps(1)[0].first()


def test_before_an_episode_there_is_nothing_to_say(cell):
  with pytest.raises(ValueError, match='nothing has begun'):
    cell.environment.outcome  # noqa: B018
  with pytest.raises(ValueError, match='nothing has begun'):
    cell.environment.executed  # noqa: B018


def test_the_host_needs_neither_jax_nor_mujoco():
  code = (
    'import sys, rlt_jax.robot.environment; '
    'print(sorted({"jax", "chex", "mujoco", "flax"} & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
