"""The learner's settings, as a user sets them."""

import chex
import jax
import numpy as np
import pytest

from rlt_jax import config as config_lib
from rlt_jax.agents import rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.learner import Learner
from rlt_jax.types import Features, Segment

_Z, _P, _C, _A, _E = 5, 4, 4, 3, 2
_BASE = (
  'agent.hidden_dims=16', 'agent.batch_size=8', 'agent.frozen_action_dims=',
  'chunk_size=4', 'open_loop_steps=4', 'replay_stride=2', 'num_envs=2',
  'learning_starts=8', 'utd_ratio=6', 'replay_capacity=64',
)  # fmt: skip


def _segment(rng):
  """Returns a whole segment of running episodes."""

  def floats(*shape):
    return rng.normal(size=(_E, *shape)).astype(np.float32)

  def features(*lead):
    return Features(
      floats(*lead, _Z),
      floats(*lead, _P),
      floats(*lead, _C, _A),
      floats(*lead, _A),
    )

  return Segment(
    features=features(_C // 2),
    final=features(),
    command=floats(_C, _A),
    reward=floats(_C),
    valid=np.ones((_E, _C), bool),
    terminated=np.zeros(_E, bool),
    truncated=np.zeros(_E, bool),
    source=np.zeros((_E, _C), np.int32),
  )


def _learn(*settings, rounds=5, flush=False, compiled=False):
  """Returns the agent, and the state after some rounds of 4 rows each."""
  config = config_lib.override(PracticeConfig(), [*_BASE, *settings])
  agent = rlt.make(config.agent, Sizes(_Z, _P, _C, _A))
  learner = Learner(agent, lambda command, pose: command - pose, config)
  rng = np.random.default_rng(0)
  segments = [_segment(rng) for _ in range(rounds)]
  state = learner.init(jax.random.PRNGKey(0), segments[0])
  for segment in [*segments, None] if flush else segments:
    if compiled:
      learner.compile(state, segment)
    state, _ = learner.learn(state, segment)
  return agent, state


@pytest.mark.parametrize(
  'setting, updates, pending',
  [
    # 16 rows are stored in five rounds: 96 updates fall due.
    ('agent.cycles_per_dispatch=10', 80, 16),
    ('agent.cycles_per_dispatch=3', 96, 0),
    ('utd_ratio=2', 20, 12),
    ('learning_starts=17', 0, 96),
    ('agent.critic_updates_per_actor=5', 50, 46),
  ],
)
def test_a_setting_decides_how_many_updates_are_made(setting, updates, pending):
  agent, state = _learn(setting)
  assert state.rows == 16
  assert int(agent.num_updates(state.agent)) == updates
  assert state.pending_updates == pending
  assert updates % agent.updates_per_dispatch == 0


def test_no_further_segment_stores_the_last_rows():
  _, state = _learn()
  _, flushed = _learn(flush=True)
  # The second row of each environment would need the next segment.
  assert flushed.rows == state.rows + _E
  assert not np.any(flushed.previous.valid)


def test_compiling_before_a_round_changes_nothing():
  _, state = _learn()
  _, compiled = _learn(compiled=True)
  chex.assert_trees_all_equal(compiled, state)
