"""Vmapped seeds learn the same as each seed alone."""

import dataclasses
from types import SimpleNamespace

import chex
import jax
import numpy as np
import pytest

from rlt_jax.agents import registry, rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.dsrl.config import DsrlConfig
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.training import learner, vmapped
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Features, Segment, Source

_Z, _P, _C, _A, _E = 5, 4, 4, 3, 2
_CONFIG = PracticeConfig(
  agent=rlt.RltConfig(hidden_dims=(16, 16), exploration_std=0.3, batch_size=8),
  num_envs=_E,
  chunk_size=_C,
  replay_stride=2,
  open_loop_steps=_C,
  learning_starts=8,
  utd_ratio=20,
  replay_capacity=64,
  vla_warmup_steps=100,
  vla_warmup_successes=0,
)
_AGENT = rlt.make(_CONFIG.agent, Sizes(_Z, _P, _C, _A))


def _encode(command, pose):
  return command - pose


def _segment(rng, num_envs, ended):
  """A random segment; the first robot ends after `ended` steps."""

  def floats(*shape):
    return rng.normal(size=(num_envs, *shape)).astype(np.float32)

  def features(*lead):
    return Features(
      z_rl=floats(*lead, _Z),
      proprio=floats(*lead, _P),
      reference=floats(*lead, _C, _A),
      pose=floats(*lead, _A),
    )

  valid = np.ones((num_envs, _C), bool)
  valid[0, ended:] = False
  terminated = np.zeros(num_envs, bool)
  terminated[0] = ended < _C
  return Segment(
    features=features(_C // 2),
    final=features(),
    command=floats(_C, _A),
    reward=floats(_C),
    valid=valid,
    terminated=terminated,
    truncated=np.zeros(num_envs, bool),
    source=np.zeros((num_envs, _C), np.int32),
  )


@pytest.fixture(scope='module')
def rounds():
  """Segments of two seeds; one loses more steps than the other."""
  rng = np.random.default_rng(0)
  return [
    [_segment(rng, _E, ended) for ended in pair]
    for pair in ((4, 1), (4, 1), (2, 4), (4, 1), (1, 4), (4, 1))
  ]


def _together(pair):
  return jax.tree.map(lambda *x: np.concatenate(x), *pair)


def test_two_seeds_learn_what_each_learns_alone(rounds):
  keys = jax.random.split(jax.random.PRNGKey(0), 2)
  wide = vmapped.VmappedLearner(_AGENT, _encode, _CONFIG, 2)
  one = learner.Learner(_AGENT, _encode, _CONFIG)
  state = wide.init(keys, _together(rounds[0]))
  alone = [one.init(keys[i], rounds[0][i]) for i in range(2)]
  differed = False
  for pair in rounds:
    state, metrics = wide.learn(state, _together(pair), np.ones(2, bool))
    for i in range(2):
      alone[i], expected = one.learn(alone[i], pair[i])
      assert (metrics[i] is None) == (expected is None)
      for name in expected or ():
        np.testing.assert_allclose(
          metrics[i][name], expected[name], rtol=1e-3, atol=1e-4
        )
    np.testing.assert_array_equal(state.rows, [x.rows for x in alone])
    np.testing.assert_array_equal(
      state.pending_updates, [x.pending_updates for x in alone]
    )
    num_updates = state.agent.critic_updates
    assert num_updates.tolist() == [int(x.agent.critic_updates) for x in alone]
    differed |= int(num_updates[0]) != int(num_updates[1])
  assert differed, 'the case where seeds owe different numbers'
  for i in range(2):
    mine = jax.tree.map(lambda x: x[i], (state.agent, state.replay))  # noqa: B023
    theirs = (alone[i].agent, alone[i].replay)
    chex.assert_trees_all_close(mine, theirs, atol=2e-4)


def test_a_seed_that_is_done_stands_still(rounds):
  keys = jax.random.split(jax.random.PRNGKey(0), 2)
  wide = vmapped.VmappedLearner(_AGENT, _encode, _CONFIG, 2)
  state = wide.init(keys, _together(rounds[0]))
  for pair in rounds[:3]:
    state, _ = wide.learn(state, _together(pair), np.ones(2, bool))
  before = jax.tree.map(np.array, state)
  for pair in rounds[3:]:
    state, metrics = wide.learn(state, _together(pair), np.array([True, False]))
    assert metrics[0] is not None and metrics[1] is None
  for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(before), strict=True):
    half = len(y) // 2
    np.testing.assert_array_equal(np.asarray(x)[half:], y[half:])
  assert state.rows[0] > before.rows[0]


def test_regrouping_puts_a_seed_together_and_back():
  # 3 times, 2 seeds, 2 environments.
  x = np.arange(12)
  grouped = vmapped.regroup(x, -1, 2, 2)
  assert grouped.tolist() == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]
  np.testing.assert_array_equal(vmapped.regroup(grouped, 2, -1, 2), x)


def test_no_update_runs_while_no_seed_has_one_pending(rounds):
  config = dataclasses.replace(_CONFIG, learning_starts=25)
  wide = vmapped.VmappedLearner(_AGENT, _encode, config, 2)
  state = wide.init(
    jax.random.split(jax.random.PRNGKey(0), 2), _together(rounds[0])
  )
  state, metrics = wide.learn(state, _together(rounds[0]), np.ones(2, bool))
  state, metrics = wide.learn(state, _together(rounds[1]), np.ones(2, bool))
  assert metrics == [None, None]
  assert state.agent.critic_updates.tolist() == [0, 0]


def test_each_seed_steers_as_alone_and_the_prior_drives_the_warm_up():
  config = dataclasses.replace(_CONFIG, replay_stride=_C)
  sizes = Sizes(_Z, _P, _C, _A, (), 6)
  agent = registry.make('dsrl', DsrlConfig(hidden_dims=(8,)), sizes)
  perception = SimpleNamespace(space=ActionSpace(np.ones(_A, np.float32)))
  wide = vmapped.VmappedActors(None, perception, agent, config, 2)
  keys = jax.random.split(jax.random.PRNGKey(0), 2)
  params = jax.vmap(lambda key: agent.policy_params(agent.init(key)))(keys)
  segments = _segment(np.random.default_rng(0), 2 * _E, _C)
  now = jax.tree.map(lambda x: x[:, 0], segments.features)
  noise, source = wide.steer((params, np.array([True, False])), now, keys)
  np.testing.assert_array_equal(noise[:_E], agent.prior_noise(keys[0], _E))
  alone = agent.act(
    jax.tree.map(lambda x: x[1], params),
    jax.tree.map(lambda x: x[_E:], now),
    keys[1],
    True,
  )
  np.testing.assert_allclose(noise[_E:], alone, atol=1e-5)
  assert source.tolist() == [Source.VLA] * _E + [Source.ACTOR] * _E
  noise, source = wide.steer(None, now, keys)
  np.testing.assert_array_equal(noise[_E:], agent.prior_noise(keys[1], _E))
  assert source.tolist() == [Source.VLA] * 2 * _E
