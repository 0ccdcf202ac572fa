"""A strap that is threaded and then pulled, in MJX and in C MuJoCo."""

import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.tasks.insertion.pushes import Push
from rlt_jax.tasks.zip_tie import push_runs
from rlt_jax.tasks.zip_tie import task as task_lib
from rlt_jax.tasks.zip_tie.config import ZipTieOutcome
from tests.tasks.zip_tie.conftest import WORLDS

_IN = 56  # control steps, to about 14 mm below the mouth


@pytest.fixture(scope='module')
def pull(scene, starts, solve):
  """(State [E], commands [T, E, A]) of a push, and of the same way back."""
  pushes = [Push('aligned', 'tight')] * WORLDS
  state, commands = push_runs.line_up(pushes, starts, scene, solve)
  return state, np.concatenate([commands[:_IN], commands[_IN::-1]])


def _run_c(task, pull):
  """Returns the depth of the tip [T] m, the bench and its largest force."""
  rig, (state, commands) = task.make_bench(), pull
  rig.place(jax.tree.map(lambda x: np.asarray(x)[0], state))
  depths, force = [], 0.0
  for command in commands[:, 0]:
    rig.set_targets(np.float64(command))
    for _ in range(task.config.substeps):
      rig.step()
    depths.append(-rig.strap_in_head().tip[2])
    force = max(force, rig.force())
  return np.array(depths), rig, force


@pytest.fixture(scope='module')
def run_c(task, pull):
  return _run_c(task, pull)


def test_a_caught_strap_cannot_be_pulled_out(task, run_c):
  depths, rig, force = run_c
  assert 0.013 <= rig.caught() <= 0.015
  assert depths[-1] > rig.caught() - 1e-3
  assert 4.0 < force < task.config.force_limit
  assert rig.outcome() == ZipTieOutcome.RUNNING and not rig.success()


def test_it_can_before_it_is_caught(task, pull):
  config = dataclasses.replace(task.config, threaded_mm=19.0)
  depths, rig, force = _run_c(task_lib.make(config), pull)
  assert depths.max() > 0.013 and depths[-1] < 0.0
  assert rig.caught() == 0.0 and force < 4.0


def test_the_pawl_of_both_physics_is_the_same(task, step, pull, run_c):
  depths, rig, force = run_c
  state, commands = pull
  largest = 0.0
  for command in commands:
    state = step(state, command)
    largest = max(largest, float(state.force[0]))
  pose = np.asarray(task.true_pose(jax.tree.map(lambda x: x[0], state)))
  np.testing.assert_allclose(state.caught[0], rig.caught(), atol=1e-6)
  np.testing.assert_allclose(-pose[2], depths[-1], atol=1e-4)
  np.testing.assert_allclose(largest, force, atol=0.3)
