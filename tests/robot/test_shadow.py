"""Nothing is sent in shadow mode, and the comparison is with the person."""

import json

import numpy as np
import pytest

from rlt_jax.robot import shadow, shadow_rows
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.control.loop import Loop, LoopConfig
from tests.robot.fake_arm import make_arm_spec
from tests.robot.fake_clock import FakeClock

_PERIOD = 0.02


class MovedArm(FakeArm):
  """A fake arm that a person moves by 0.001 rad a control step."""

  def __init__(self, spec, *, clock):
    super().__init__(spec, clock=clock, start=(0.0, 0.0, 0.0, 0.01))
    self.sent = []

  def observe(self):
    self._position = self._target = self._position + [0.001, 0.0, 0.0, 0.0]
    return super().observe()

  def _send(self, target):
    self.sent.append(target)
    return super()._send(target)


class Driver:
  """Wants each joint to go on by `step`, with a hold in between."""

  def __init__(self, step):
    self.step, self.calls = np.array(step), 0

  def __call__(self, reading, now):
    self.calls += 1
    if self.calls % 10 == 0:
      return f'A new chunk must come: {now}.'
    return Command(reading.position + self.step, now, CommandSource.VLA)

  def clear(self):
    pass


@pytest.fixture
def clock():
  return FakeClock()


def _run(folder, clock, step, steps=100):
  spec = make_arm_spec()
  moved = MovedArm(spec, clock=clock)
  moved.connect()
  arm = shadow.ShadowArm(moved)
  log = shadow.ShadowLog(arm, _PERIOD, folder)
  config = LoopConfig(velocity_from_pose=True)
  loop = Loop(arm, Driver(step), clock, config=config, on_step=log.on_step)
  for _ in range(steps):
    loop.step()
  loop.finish()
  return moved, log


def test_nothing_is_sent_whatever_is_asked(clock, tmp_path):
  moved, log = _run(tmp_path, clock, (0.001, 0.0, 0.0, 0.0))
  arm = log._arm
  for call in (arm.hold, arm.stow, arm.disable):
    call()
  assert moved.sent == []
  assert {name for _, name in moved.events} == {'connect'}
  arm.disconnect()
  assert moved.events[-1][1] == 'disconnect'


def test_a_driver_that_does_as_the_person_is_not_far(clock, tmp_path):
  _, log = _run(tmp_path, clock, (0.001, 0.0, 0.0, 0.0))
  found = log.write()
  assert found['steps'] == 100 and found['sent'] == 90
  assert found['by_source'] == {'vla': 90}
  assert found['holds'] == {'A new chunk must come': 10}
  assert found['wanted']['a']['worst'] < 1e-9
  assert found['wanted']['tip of c, mm']['worst'] < 1e-6
  assert found['limited'] == 0.0


def test_the_distance_and_the_limits_are_those_of_each_step(clock, tmp_path):
  """The driver goes the other way, and faster than the arm's file allows."""
  _, log = _run(tmp_path, clock, (-0.03, 0.0, 0.0, 0.0))
  found = log.write()
  np.testing.assert_allclose(found['wanted']['a']['p50'], 0.031)
  # 0.5 rad/s are 0.01 a step from the measured pose, which then moved on.
  np.testing.assert_allclose(found['asked']['a']['p50'], 0.011)
  assert found['limited'] == 1.0
  assert json.loads((tmp_path / 'shadow.json').read_text()) == found
  text = (tmp_path / 'shadow.md').read_text()
  assert '| a, rad | 0.031 | 0.031 | 0.031 | 0.011 | 0.011 | 0.011 |' in text
  with np.load(tmp_path / shadow.FILE, allow_pickle=False) as stored:
    assert stored['wanted'].shape == (100, 4)
    assert set(stored['source']) == {'vla', 'none'}
    np.testing.assert_allclose(
      stored['measured'][:, 0], 0.001 * np.arange(1, 101)
    )


def test_a_run_without_a_step_is_written_too(clock, tmp_path):
  _, log = _run(tmp_path, clock, (0.0,) * 4, steps=0)
  assert log.write()['wanted'] is None
  assert 'No two steps' in (tmp_path / 'shadow.md').read_text()


def test_a_run_goes_on_after_the_steps_of_one_that_was_killed(clock, tmp_path):
  _run(tmp_path, clock, (-0.03, 0.0, 0.0, 0.0))  # and nothing is written
  path = tmp_path / shadow_rows.FILE
  with path.open('ab') as file:
    file.write(b'{"time": 1')
  clock.time = 50.0  # the host was started again
  _, log = _run(tmp_path, clock, (-0.03, 0.0, 0.0, 0.0))
  found = log.write()
  log.close()
  assert found['steps'] == 200 and found['sent'] == 180
  assert found['holds'] == {'A new chunk must come': 20}
  np.testing.assert_allclose(found['wanted']['a']['worst'], 0.031)
  with np.load(tmp_path / shadow.FILE, allow_pickle=False) as stored:
    assert stored['time'][99] == pytest.approx(101.98)
    assert stored['time'][100] == 50.0
  assert len(path.read_text().splitlines()) == 200
