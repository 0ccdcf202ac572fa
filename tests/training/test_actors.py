"""Which observation a policy decides from: now, or `delay` steps ago."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.agents import rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.rollout import chunk_rollout as chunk_rollout_lib
from rlt_jax.rollout.perception import Perception
from rlt_jax.sim import two_arm_bench
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion import measures
from rlt_jax.training import actors
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Features, Source

_CHUNK, _HORIZON = 10, 50
_TASK = EthernetConfig(time_limit=40)  # the other tests', compiled once for all


def _perceive(worlds, key, prompt=None):
  """z_rl holds the step of the query, the reference the steps it is for."""
  del key, prompt
  now = jnp.asarray(worlds.steps, jnp.float32)
  ahead = now[:, None] + jnp.arange(_HORIZON)
  return Features(
    z_rl=now[:, None],
    proprio=jnp.zeros((len(now), 1)),
    reference=jnp.repeat(ahead[..., None], two_arm_bench.ACTION_DIM, -1),
    pose=measures.joint_positions(worlds),
  )


def _perception(mode='offset'):
  scale = np.full(two_arm_bench.ACTION_DIM, 1e-9, np.float32)
  return Perception(
    perceive=_perceive,
    perceive_each=None,
    space=ActionSpace(scale, mode),
    z_dim=1,
    proprio_dim=1,
    action_dim=two_arm_bench.ACTION_DIM,
  )


def _config(delay):
  return PracticeConfig(
    task=_TASK, num_envs=2, chunk_size=_CHUNK, inference_delay=delay
  )


def _agent(config):
  return rlt.make(config.agent, Sizes(1, 1, _CHUNK, two_arm_bench.ACTION_DIM))


@pytest.fixture(scope='module')
def rollout_fns():
  return chunk_rollout_lib.make(tasks.load('ethernet', _TASK))


@pytest.mark.parametrize('delay', [0, 4])
def test_each_step_goes_with_what_decided_it(rollout_fns, delay):
  config = _config(delay)
  trajectories = []

  def chunk(*args):
    trajectories.append(rollout_fns.chunk(*args))
    return trajectories[-1]

  collector = actors.Actors(
    rollout_fns._replace(chunk=chunk), _perception(), _agent(config), config
  )
  state = collector.init(jax.random.PRNGKey(0))
  for begins in (0, 10, 20, 30, 0):  # the time limit is after four rounds
    state, output = collector.collect(state, None)
    features = output.segment.features
    steps = begins + np.arange(0, _CHUNK, config.replay_stride)
    query_steps = np.maximum(steps - delay, 0)
    for row in range(config.num_envs):
      np.testing.assert_array_equal(features.z_rl[row, :, 0], query_steps)
      np.testing.assert_array_equal(
        features.reference[row, :, :, 0], steps[:, None] + np.arange(_CHUNK)
      )
    final = output.segment.final
    np.testing.assert_array_equal(final.z_rl[:, 0], begins + _CHUNK - delay)
    np.testing.assert_array_equal(final.reference[:, 0, 0], begins + _CHUNK)
    # The pose is the one that was seen, and the chunk relative to it.
    if begins:
      before = np.asarray(trajectories[-1].measured)
      still = np.asarray(features.pose)
      later = slice(delay // config.replay_stride, None)
      np.testing.assert_allclose(
        still[:, later],
        before[:, : _CHUNK - delay : config.replay_stride],
        atol=1e-6,
      )


@pytest.mark.parametrize('delay', [0, 4])
def test_an_evaluation_decides_with_the_same_delay(rollout_fns, delay):
  queries = []

  def policy(features, key):
    del key
    queries.append(
      (np.array(features.z_rl), np.array(features.reference[:, 0]))
    )
    return features.reference[:, :_CHUNK]

  evaluator = evaluator_lib.Evaluator(
    rollout_fns,
    _perception(),
    seed=0,
    chunk=_CHUNK,
    sizes=evaluator_lib.Sizes(2, 10),
    delay=delay,
  )
  episodes, _ = evaluator.run(policy, 2)
  np.testing.assert_array_equal(episodes.steps, [40, 40])
  query_steps = [int(z[0, 0]) for z, _ in queries]
  first_steps = [int(reference[0, 0]) for _, reference in queries]
  assert (query_steps, first_steps) == (
    [0, 10 - delay, 20 - delay, 30 - delay],
    [0, 10, 20, 30],
  )


def test_a_delay_needs_offsets(rollout_fns):
  config = _config(2)
  with pytest.raises(ValueError, match="offsets .*: 'increment'"):
    actors.Actors(rollout_fns, _perception('increment'), _agent(config), config)


def _steering(config):
  """An agent whose noise is 1, and 0.5 in the warm-up."""
  shape = _HORIZON, two_arm_bench.ACTION_DIM
  return dataclasses.replace(
    _agent(config),
    prior_noise=lambda key, rows: jnp.full((rows, *shape), 0.5),
    act=lambda params, features, key, explore: jnp.ones(
      (len(features.z_rl), *shape)
    ),
  )


def _answering_perception(asked):
  """The VLA's chunk is the noise it is asked with."""

  def sample(worlds, noise, prompt=None):
    del worlds, prompt
    asked.append(noise.shape)
    return noise

  return _perception()._replace(sample=sample)


def test_noise_that_an_agent_chooses_is_executed_and_stored(rollout_fns):
  config = dataclasses.replace(
    _config(0), replay_stride=_CHUNK, vla_warmup_steps=20_000
  )
  asked, decoded = [], []
  perception = _answering_perception(asked)
  collector = actors.Actors(rollout_fns, perception, _steering(config), config)
  collector._decode = lambda chunk, pose: (
    decoded.append(chunk) or jax.jit(perception.space.decode)(chunk, pose)
  )
  state = collector.init(jax.random.PRNGKey(0))
  for policy, wanted, source in (
    (None, 0.5, Source.VLA),
    ({}, 1, Source.ACTOR),
  ):
    state, output = collector.collect(state, policy)
    assert asked[-1] == (2, 1, _HORIZON, two_arm_bench.ACTION_DIM)
    assert decoded[-1].shape == (2, _CHUNK, two_arm_bench.ACTION_DIM)
    assert (np.asarray(decoded[-1]) == wanted).all()
    assert output.segment.noise.shape == (2, *asked[-1][2:])
    assert (np.asarray(output.segment.noise) == wanted).all()
    assert (np.asarray(output.segment.source) == source).all()


def test_noise_that_an_agent_chooses_is_evaluated(rollout_fns):
  config = dataclasses.replace(
    _config(0), replay_stride=_CHUNK, vla_warmup_steps=20_000
  )
  asked = []
  runner = evaluator_lib.Evaluator(
    rollout_fns,
    _answering_perception(asked),
    seed=0,
    chunk=_CHUNK,
    sizes=evaluator_lib.Sizes(2, 2),
  )
  policy = evaluator_lib.agent_policy(
    _steering(config), {}, chunk_size=_CHUNK, explore=False
  )
  calls = []
  policy = evaluator_lib.with_check(policy, lambda: calls.append(1))
  episodes, _ = runner.run(policy, 2)
  assert episodes.steps.tolist() == [40, 40]  # the time limit, four queries
  assert len(asked) == len(calls) == 4


def test_steering_needs_a_row_for_each_query(rollout_fns):
  config = _config(0)
  with pytest.raises(ValueError, match='replay_stride must be .* 10: 2'):
    actors.Actors(rollout_fns, _perception(), _steering(config), config)
