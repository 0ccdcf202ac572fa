"""The simulated arm as a station: its cameras, operator and start states."""

import contextlib
import json
import pathlib

import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.lock import LockedError
from rlt_jax.robot import arms
from rlt_jax.robot.clock import MonotonicClock
from rlt_jax.robot.operator.events import Kind
from rlt_jax.sim_robot import sim_station
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome


@pytest.fixture(scope='module')
def setup():
  with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
    # Text that a library prints unbuffered must not mix with the images.
    patch.setenv('PYTHONUNBUFFERED', '1')
    yield sim_station.build(
      MonotonicClock(), stack, bundle='b', vla='ws://127.0.0.1:1', seed=0
    )


def test_the_cameras_draw_the_world_as_it_is(setup):
  setup.prepare('practice', 0)
  images = setup.cameras.observe()
  assert 0.0 <= setup.cameras.age_s() < 5.0
  drawn = tasks.load('ethernet').render(setup.arm.world())
  assert set(images) == set(drawn)
  for name, image in images.items():
    np.testing.assert_array_equal(image, np.asarray(drawn[name])[0])


def test_pictures_are_of_the_moment_that_triggered_them(setup):
  setup.prepare('practice', 1)
  was = setup.cameras.observe()
  setup.cameras.trigger()
  setup.prepare('practice', 2)
  moments = [setup.cameras.observe() for _ in range(2)]
  setup.cameras.trigger()
  setup.prepare('practice', 1)
  setup.cameras.trigger()  # instead of the one before
  moments.append(setup.cameras.observe())
  for name, image in was.items():
    np.testing.assert_array_equal(moments[0][name], image)
    assert (moments[1][name] != image).any()
    assert (moments[1][name] != moments[2][name]).any()


def test_base_and_evaluation_start_alike_and_practice_does_not(setup):
  poses = {}
  for mode in ('base', 'evaluation', 'practice'):
    setup.prepare(mode, 0)
    poses[mode] = np.array(setup.arm.observe().position)
  np.testing.assert_allclose(poses['base'], poses['evaluation'], atol=1e-3)
  assert np.abs(poses['base'] - poses['practice']).max() > 3e-3


def test_the_operator_labels_episodes_by_the_true_poses(setup):
  said = {x: tuple(sim_station.events_for(x)) for x in (-1, 0, 1, 2, 3)}
  assert said[EthernetOutcome.SUCCESS] == (Kind.SUCCESS,)
  assert (
    said[EthernetOutcome.FORCE_LIMIT]
    == said[EthernetOutcome.DROP]
    == (Kind.FAILURE,)
  )
  assert said[EthernetOutcome.RUNNING] == said[EthernetOutcome.TIME_OUT] == ()
  assert setup.time_limit == EthernetConfig().time_limit


def test_a_second_loop_is_refused(setup):
  with contextlib.ExitStack() as stack, pytest.raises(LockedError):
    sim_station.build(
      MonotonicClock(), stack, bundle='b', vla='ws://127.0.0.1:1', seed=0
    )


def refuse(match, **arguments):
  with contextlib.ExitStack() as stack, pytest.raises(ValueError, match=match):
    sim_station.build(
      MonotonicClock(),
      stack,
      bundle='b',
      vla='ws://127.0.0.1:1',
      seed=0,
      **arguments,
    )


def test_an_arms_file_that_does_not_fit_the_task_is_refused(tmp_path):
  shipped = pathlib.Path(arms.__file__).parent / 'specs' / 'sim.json'
  plain = json.loads(shipped.read_text()) | {'name': 'other'}
  plain['joint_units'][0] = 'm'
  file = tmp_path / 'arm.json'
  file.write_text(json.dumps(plain))
  refuse("joint_units of the arm 'other' must be", arm_spec=str(file))


def test_a_task_that_cannot_be_a_station_is_refused():
  module = 'tests.demonstrations.point_demo_task'
  refuse(
    "joint_names of the arm 'sim' must be those of the task point",
    task_name=f'{module}:make',
  )
  refuse(
    'needs a task with cameras: point',
    task_name=f'{module}:make_without_cameras',
  )
