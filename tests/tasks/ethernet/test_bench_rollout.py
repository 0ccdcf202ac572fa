"""The bench as the rollout of an evaluation, beside MJX."""

import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.evaluation import bench_rollout
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.sim import two_arm_bench as joints_lib
from rlt_jax.tasks.ethernet.config import EthernetOutcome
from tests.tasks.ethernet.conftest import WORLDS

_STEPS = 12


@pytest.fixture(scope='module')
def trajectory(task, starts):
  """Trajectory of random motions; world 0 has ended, world 1 will drop."""
  rollout = bench_rollout.make(task, RolloutFns(None, None))
  outcome = np.full(WORLDS, EthernetOutcome.RUNNING, np.int32)
  outcome[0] = EthernetOutcome.SUCCESS
  rng = np.random.default_rng(0)
  motion = rng.uniform(-0.01, 0.01, (WORLDS, 1, joints_lib.ACTION_DIM))
  commands = (
    np.asarray(starts.command)[:, None]
    + motion * np.linspace(0.1, 1.0, _STEPS)[:, None]
  )
  commands[..., joints_lib.JOINTS.index('right_gripper')] = 0.0
  commands[1, :, joints_lib.JOINTS.index('right_gripper')] = 0.02
  begin = starts.replace(outcome=outcome)
  return rollout.chunk(begin, np.float32(commands)), commands, begin


def test_the_bench_follows_mjx(trajectory, step):
  run, commands, state = trajectory
  for k in range(_STEPS):
    before = jax.tree.map(lambda x: x[k], run.states)  # noqa: B023
    np.testing.assert_allclose(before.qpos, state.qpos, atol=1e-6)
    np.testing.assert_array_equal(before.outcome, state.outcome)
    state = step(state, np.float32(commands[:, k]))
    np.testing.assert_allclose(run.command[:, k], state.command, atol=1e-6)
  np.testing.assert_array_equal(run.final.outcome, state.outcome)
  np.testing.assert_array_equal(run.final.steps, state.steps)
  np.testing.assert_allclose(run.final.qvel, state.qvel, atol=1e-4)


def test_ended_worlds_stay(trajectory):
  run, _, begin = trajectory
  assert not run.valid[0].any() and not run.terminated[0]
  np.testing.assert_array_equal(run.final.qpos[0], begin.qpos[0])
  assert run.final.outcome[1] == EthernetOutcome.DROP and run.terminated[1]
  assert run.valid[1, 0] and not run.valid[1, -1]
  assert not run.truncated.any()
  assert run.measured.shape == run.command.shape == (WORLDS, _STEPS, 14)


def test_a_task_without_a_bench_is_refused(task):
  bare = dataclasses.replace(task, make_bench=None)
  with pytest.raises(ValueError, match='needs a task with a bench'):
    bench_rollout.make(bare, RolloutFns(None, None))
