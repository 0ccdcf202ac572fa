"""Worlds whose numbers are no longer finite, in practice and in evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.rlt import agent as agent_lib
from rlt_jax.agents.rlt import RltConfig
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.perception import Perception
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.training import actors, loop, multi_seed
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Features, Outcome
from tests.envs import point_task

_CHUNK, _HORIZON, _DIM = 10, 20, 3
CONFIG = PracticeConfig(
  task=TaskConfig(time_limit=200),
  agent=RltConfig(batch_size=4, hidden_dims=(8,), cycles_per_dispatch=1),
  num_envs=4,
  num_env_steps=400,
  learning_starts=4,
  vla_warmup_steps=200,
  vla_warmup_successes=0,
  replay_capacity=500,
)


def _perceive(states, key, prompt=None):
  del key, prompt
  # A server or a VLA must never see such a world.
  assert (
    isinstance(states.qpos, jax.core.Tracer) or np.isfinite(states.qpos).all()
  )
  num = len(states.qpos)
  return Features(
    z_rl=states.qpos,
    proprio=states.qpos,
    # Stays, so that no episode ends by itself within the rounds of a test.
    reference=jnp.zeros((num, _HORIZON, _DIM)),
    pose=states.qpos,
  )


def _perceive_each(states, keys, prompt=None):
  del keys
  return _perceive(states, None, prompt)


@pytest.fixture(scope='module')
def task():
  return point_task.make(CONFIG.task)


def make_parts():
  """Returns perception and agent of a point that does not move."""
  perception = Perception(
    perceive=_perceive,
    perceive_each=_perceive_each,
    space=ActionSpace(np.full(_DIM, 0.01, np.float32), 'offset'),
    z_dim=_DIM,
    proprio_dim=_DIM,
    action_dim=_DIM,
  )
  agent = agent_lib.make(CONFIG.agent, Sizes(_DIM, _DIM, _CHUNK, _DIM, (2,)))
  return perception, agent


@pytest.fixture(scope='module')
def parts(task):
  return chunk_rollout.make(task), *make_parts()


@pytest.fixture
def breaking(parts):
  """A rollout that breaks worlds on request: world -> step of the chunk."""
  rollout, perception, agent = parts
  broken = {}

  def chunk(states, commands):
    made = rollout.chunk(states, commands)
    for world, step in broken.items():
      qpos = made.states.qpos.at[step + 1 :, world].set(np.nan)
      made = made._replace(
        states=made.states.replace(qpos=qpos),
        final=made.final.replace(qpos=made.final.qpos.at[world].set(np.nan)),
        command=made.command.at[world, step:].set(np.nan),
      )
    broken.clear()
    return made

  return broken, rollout._replace(chunk=chunk), perception, agent


def _rows(previous, segment, parts):
  rows, keep = replay.build_rows(
    previous, segment, encode=parts[1].space.encode, gamma=0.99, stride=2
  )
  keep = np.asarray(keep).reshape(CONFIG.num_envs, -1)
  return rows, keep


def test_a_diverging_world_fails_is_renewed_and_leaves_no_row(breaking, parts):
  broken, rollout, perception, agent = breaking
  collector = actors.Actors(rollout, perception, agent, CONFIG)
  state = collector.init(jax.random.PRNGKey(0))
  state, before = collector.collect(state, None)
  broken[1] = 4
  state, output = collector.collect(state, None)
  state, after = collector.collect(state, None)
  np.testing.assert_array_equal(output.diverged, [False, True, False, False])
  np.testing.assert_array_equal(output.ended, output.diverged)
  assert output.outcome[1] == Outcome.TIME_OUT and output.length[1] == 20
  np.testing.assert_array_equal(output.steps, [10] * 4)
  # The world has begun again, the others go on.
  np.testing.assert_array_equal(state.env_states.steps, [30, 10, 30, 30])
  actors.check_finite(state=state, output=(output.segment, after.segment))
  # Of the round before only the row that ends with it is kept.
  rows, keep = _rows(before.segment, output.segment, parts)
  np.testing.assert_array_equal(keep[1], [True] + [False] * 4)
  assert keep[[0, 2, 3]].all()
  assert rows.discount[5] == pytest.approx(0.99**10)  # it bootstraps
  _, keep = _rows(output.segment, after.segment, parts)
  assert not keep[1].any() and keep[[0, 2, 3]].all()


def test_the_other_worlds_do_not_notice(breaking):
  broken, rollout, perception, agent = breaking
  collector = actors.Actors(rollout, perception, agent, CONFIG)
  start = collector.init(jax.random.PRNGKey(0))
  _, healthy = collector.collect(start, None)
  broken[0] = 0
  _, output = collector.collect(start, None)
  others = jax.tree.map(lambda x: x[1:], (healthy.segment, output.segment))
  jax.tree.map(np.testing.assert_array_equal, *others)


def test_infinity_that_a_task_uses_is_no_divergence(task):
  state = jax.vmap(task.reset)(jax.random.split(jax.random.PRNGKey(0), 2))
  before = state.replace(reward=jnp.full(2, jnp.inf))
  assert not chunk_rollout.find_diverged(before, before).any()
  after = before.replace(reward=jnp.array([1.0, jnp.nan]))
  for earlier in (before, state):
    found = chunk_rollout.find_diverged(earlier, after)
    np.testing.assert_array_equal(found, [False, True])


def test_practice_goes_on_and_counts_it(breaking):
  broken, rollout, perception, agent = breaking
  practice = loop.Practice(rollout, perception, agent, CONFIG)
  rows = []

  def on_round(state, metrics):
    rows.append(metrics)
    if len(rows) == 3:
      broken.update({0: 0, 3: 9})

  state = practice.run(practice.init(), 400, on_round)
  assert [row['diverged_worlds'] for row in rows] == [0, 0, 0, 2] + [0] * 5
  assert not state.episodes().success.any() and len(state.episodes().steps) == 2
  assert rows[-1]['finite'] == 1.0 and state.env_steps == 400


def test_a_sweep_counts_it_for_its_seed(breaking):
  broken, rollout, perception, agent = breaking
  config = dataclasses.replace(CONFIG, num_env_steps=200)
  sweep = multi_seed.MultiSeed(rollout, perception, agent, config, (0, 1))
  rounds = []

  def on_round(state, metrics):
    rounds.append([own['diverged_worlds'] for own in metrics])
    if len(rounds) == 1:
      broken[5] = 2  # the second world of the second seed

  state = sweep.run(sweep.init(), on_round)
  assert rounds == [[0, 0], [0, 1], [0, 0], [0, 0]]
  assert [(x >= 0).sum() for x in state.outcome] == [0, 1]


def _diverging(agent):
  """Returns an agent whose losses are no longer finite from the first on."""

  def update(*arguments):
    state, metrics = agent.update(*arguments)
    return state, metrics | {'finite': jnp.float32(0.0)}

  return dataclasses.replace(agent, update=update)


def test_a_learner_that_is_not_finite_ends_practice(parts):
  rollout, perception, agent = parts
  practice = loop.Practice(rollout, perception, _diverging(agent), CONFIG)
  seen = []
  with pytest.raises(FloatingPointError, match=r'must stay .* step \d+, {'):
    practice.run(practice.init(), 400, lambda *round_: seen.append(round_))
  # The rounds before it made no update.
  assert seen and not any('finite' in metrics for _, metrics in seen)


def test_a_learner_that_is_not_finite_ends_a_sweep(parts):
  rollout, perception, agent = parts
  sweep = multi_seed.MultiSeed(
    rollout, perception, _diverging(agent), CONFIG, (0, 1)
  )
  with pytest.raises(
    FloatingPointError, match='must stay finite: seed 0, step'
  ):
    sweep.run(sweep.init(), lambda *_: None)


def test_a_vla_that_is_not_finite_still_ends_practice(parts):
  rollout, perception, agent = parts

  def perceive(states, key, prompt=None):
    seen = perception.perceive(states, key, prompt)
    return seen._replace(z_rl=seen.z_rl * jnp.nan)

  collector = actors.Actors(
    rollout, perception._replace(perceive=perceive), agent, CONFIG
  )
  state = collector.init(jax.random.PRNGKey(0))
  with pytest.raises(FloatingPointError, match='observation.z_rl'):
    collector.collect(state, None)


def test_an_evaluation_counts_it_as_failed_and_goes_on(parts):
  rollout, perception, _ = parts
  evaluator = evaluator_lib.Evaluator(
    rollout,
    perception,
    seed=0,
    chunk=_CHUNK,
    sizes=evaluator_lib.Sizes(4, 4),
  )
  lost = evaluator.initial_states(3).qpos[1]

  def policy(features, key):
    del key
    chunk = features.reference[:, :_CHUNK]
    broken = jnp.all(features.pose == lost, axis=1)
    return jnp.where(broken[:, None, None], jnp.nan, chunk)

  episodes, _ = evaluator.run(policy, 3)
  np.testing.assert_array_equal(episodes.steps, [200, 10, 200])
  np.testing.assert_array_equal(episodes.outcome, [Outcome.TIME_OUT] * 3)
