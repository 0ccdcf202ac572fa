"""The twin as a station: what it is put together from, and what it shows."""

import contextlib

import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.robot import lock
from rlt_jax.robot.clock import MonotonicClock
from rlt_jax.robot.operator.events import Kind
from rlt_jax.sim_robot import sim_station
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.ethernet.state import State


@pytest.fixture(scope='module')
def cell():
  with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
    # What a library prints at once must not end up among the pictures.
    patch.setenv('PYTHONUNBUFFERED', '1')
    yield sim_station.build(
      MonotonicClock(), stack, bundle='b', vla='ws://127.0.0.1:1', seed=0
    )


def test_the_cameras_draw_the_world_as_it_is(cell):
  cell.prepare('practice', 0)
  images = cell.cameras.observe()
  assert 0.0 <= cell.cameras.age_s() < 5.0
  world = {k: np.asarray(v) for k, v in cell.arm.world().items()}
  render = tasks.load('ethernet').render
  drawn = render(State(**world))
  assert set(images) == set(drawn)
  for name, image in images.items():
    np.testing.assert_array_equal(image, np.asarray(drawn[name])[0])


def test_pictures_are_of_the_moment_that_triggered_them(cell):
  cell.prepare('practice', 1)
  was = cell.cameras.observe()
  cell.cameras.trigger()
  cell.prepare('practice', 2)
  cell.cameras.trigger()
  moments = [cell.cameras.observe() for _ in range(3)]
  for name, image in was.items():
    np.testing.assert_array_equal(moments[0][name], image)
    assert (moments[1][name] != image).any()
    np.testing.assert_array_equal(moments[1][name], moments[2][name])


def test_base_and_evaluation_start_alike_and_practice_does_not(cell):
  poses = {}
  for mode in ('base', 'evaluation', 'practice'):
    cell.prepare(mode, 0)
    poses[mode] = np.array(cell.arm.observe().position)
  np.testing.assert_allclose(poses['base'], poses['evaluation'], atol=1e-3)
  assert np.abs(poses['base'] - poses['practice']).max() > 3e-3


def test_the_operator_says_what_the_poses_say(cell):
  said = {x: tuple(sim_station.events_for(x)) for x in (-1, 0, 1, 2, 3)}
  assert said[EthernetOutcome.SUCCESS] == (Kind.SUCCESS,)
  assert (
    said[EthernetOutcome.FORCE_LIMIT]
    == said[EthernetOutcome.DROP]
    == (Kind.FAILURE,)
  )
  assert said[EthernetOutcome.RUNNING] == said[EthernetOutcome.TIME_OUT] == ()
  assert cell.time_limit == EthernetConfig().time_limit


def test_a_second_loop_is_refused(cell):
  with contextlib.ExitStack() as stack, pytest.raises(lock.LockedError):
    sim_station.build(
      MonotonicClock(), stack, bundle='b', vla='ws://127.0.0.1:1', seed=0
    )
