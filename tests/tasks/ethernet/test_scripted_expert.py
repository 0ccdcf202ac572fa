import functools

import jax
import numpy as np
import pytest

from rlt_jax.demonstrations import record
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.insertion import measures

_WORLDS, _LIFTS = 20, 4
_CONFIG = scripted_expert_lib.ExpertConfig()
_LIMIT = 300  # steps, twice what an insertion takes


@pytest.fixture(scope='module')
def task():
  return task_lib.make(EthernetConfig(time_limit=_LIMIT))


@pytest.fixture(scope='module')
def lift():
  return np.arange(_WORLDS) >= _WORLDS - _LIFTS


@pytest.fixture(scope='module')
def demonstrate(task, lift):
  """key -> Trace of 16 insertions, then 4 lifts, as numpy."""
  roll = jit(
    functools.partial(
      record.demonstrate,
      task=task,
      expert=task.make_expert(_CONFIG),
      steps=task.config.time_limit,
    )
  )
  return lambda seed: jax.tree.map(
    np.asarray, roll(jax.random.PRNGKey(seed), lift.astype(np.int32))
  )


@pytest.fixture(scope='module')
def trace(demonstrate):
  return demonstrate(0)


@pytest.fixture(scope='module')
def tips(scene, trace):
  """TipInSocket [T, 20] before each step."""
  measure = functools.partial(measures.tip_in_socket, scene)
  return jit(jax.vmap(jax.vmap(measure)))(trace.states)


def test_most_insertions_succeed_at_a_persons_pace(trace, lift):
  won = (trace.final.outcome == EthernetOutcome.SUCCESS)[~lift]
  steps = trace.final.steps[~lift][won]
  assert won.mean() >= 0.8, won
  assert 110 <= np.median(steps) <= 190, np.median(steps)


def test_the_expert_keeps_its_speed_limits(trace, tips, lift):
  won = (trace.final.outcome == EthernetOutcome.SUCCESS) & ~lift
  # mm; it lines up above the mouth, pauses and pushes at its fastest.
  start = -np.asarray(tips.depth)[0] * 1e3
  travel = np.maximum(start - _CONFIG.hover_mm, 0) / _CONFIG.align_speed_mm_s[1]
  push = (_CONFIG.hover_mm + 11.0) / _CONFIG.push_speed_mm_s[1]
  idle = _CONFIG.reaction_steps[0] + _CONFIG.pause_steps[0]
  # It aims past the hover by up to three deviations, and reads a step late.
  fastest = (travel + push) * EthernetConfig.control_hz + idle - 8
  assert (trace.final.steps[won] >= fastest[won]).all()


def test_the_tip_keeps_below_the_cap(trace, tips, lift):
  heights = np.asarray(tips.depth)[:, ~lift] * 1e3
  free = trace.running[1:, ~lift] & (heights[1:] < -1.0)
  speed = np.abs(np.diff(heights, axis=0)) * EthernetConfig.control_hz
  # Averaged over ten steps tremor is gone and the cap remains.
  window = 10
  mean = np.abs(heights[window:] - heights[:-window]) / window
  mean = mean * EthernetConfig.control_hz
  held = free[window - 1 :] & trace.running[:-window, ~lift]
  assert mean[held].max() <= 1.15 * _CONFIG.align_speed_mm_s[1]
  assert speed[free].max() < 40.0


def test_a_lift_goes_up_and_never_succeeds(trace, tips, lift):
  depth = np.asarray(tips.depth)[:, lift] * 1e3
  assert (trace.final.outcome[lift] == EthernetOutcome.TIME_OUT).all()
  assert not trace.states.reward[:, lift].any()
  assert (depth[-1] < depth[0] - 3.0).all()
  np.testing.assert_allclose(depth[-1], -_CONFIG.lift_mm, atol=1.0)


def test_the_trace_holds_the_executed_commands(trace):
  ran = trace.running[:-1] & trace.running[1:]
  np.testing.assert_array_equal(
    trace.commands[:-1][ran], trace.states.command[1:][ran]
  )


def test_an_episodes_steps_are_those_it_ran(trace):
  np.testing.assert_array_equal(trace.running.sum(0), trace.final.steps)
  assert (np.diff(trace.running.astype(int), axis=0) <= 0).all()


def test_the_other_arm_rests(trace):
  other = trace.states.qpos[..., 8:14]
  assert 0 < np.abs(other).max() < 0.01


def test_the_same_key_gives_the_same_trace(demonstrate, trace):
  jax.tree.map(np.testing.assert_array_equal, demonstrate(0), trace)
