"""Each baseline practices on a point that must reach a goal.

The VLA is a slow straight motion to the goal with its noise added.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting import statistics
from rlt_jax.reporting.metrics import METRICS
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.perception import Perception
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.training import loop
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Features
from tests.envs import point_task

_CHUNK, _HORIZON, _DIM = 5, 10, 3
_GOAL = np.array([0.1, -0.1, 0.005], np.float32)
_UNIT = np.array([0.01, 0.01, 1e-4], np.float32)  # m
_SMALL = {'hidden_dims': (32, 32), 'batch_size': 32}
_BASELINES = {
  'best_of_n': _SMALL | {'num_candidates': 4},
  'dsrl': _SMALL | {'actor_lr': 1e-3, 'init_temperature': 1e-3},
  'residual': _SMALL | {'pretrain_updates': 200, 'conservative_samples': 2},
  'hil_serl': _SMALL | {'hold': True},
}


def _vla(states, noise):
  """Chunks [B, H, A] for noise [B, H, A]: a millimeter a step and the noise."""
  way = _GOAL - states.qpos
  way = way / jnp.maximum(jnp.linalg.norm(way, axis=-1, keepdims=True), 1e-6)
  steps = 0.001 * jnp.arange(1.0, _HORIZON + 1)[:, None]
  return (steps * way[:, None]) / _UNIT + 0.5 * noise


def _perception(num_candidates):
  def perceive(states, key, prompt=None):
    del prompt
    shape = len(states.qpos), max(num_candidates, 1), _HORIZON, _DIM
    chunks = sample(states, jax.random.normal(key, shape))
    state = (states.qpos - _GOAL) / 0.05
    return Features(
      z_rl=state,
      proprio=state,
      reference=chunks[:, 0],
      pose=states.qpos,
      candidates=chunks if num_candidates else None,
    )

  def sample(states, noise, prompt=None):
    del prompt
    chunk = jax.vmap(_vla, in_axes=(None, 1), out_axes=1)
    return chunk(states, noise)

  return Perception(
    perceive=jax.jit(perceive),
    perceive_each=None,
    space=ActionSpace(_UNIT, 'offset'),
    z_dim=_DIM,
    proprio_dim=_DIM,
    action_dim=_DIM,
    horizon=_HORIZON,
    sample=jax.jit(sample),
  )


def _config(name):
  by_query = name == 'dsrl'
  return PracticeConfig(
    task=TaskConfig(time_limit=60),
    agent_name=name,
    agent=registry.config_class(name)(**_BASELINES[name]),
    num_envs=8,
    chunk_size=_CHUNK,
    open_loop_steps=_CHUNK,
    # DSRL has a row for each query.
    replay_stride=_CHUNK if by_query else 1,
    utd_ratio=10 if by_query else 2,
    # After 3000 DSRL's success depends on seed and rounding; after 5000 three
    # seeds of three are three times as fast as the VLA.
    num_env_steps=5000 if by_query else 2000,
    learning_starts=32,
    vla_warmup_steps=800,
    vla_warmup_successes=0,
    replay_capacity=4000,
    gamma=0.97,
  )


@pytest.fixture(scope='module')
def rollout():
  return chunk_rollout.make(point_task.make(TaskConfig(time_limit=60)))


@pytest.mark.parametrize('name', _BASELINES)
def test_a_baseline_practices_and_is_evaluated(name, rollout):
  config = _config(name)
  sizes = Sizes(_DIM, _DIM, _CHUNK, _DIM, (2,), _HORIZON)
  agent = registry.make(name, config.agent, sizes)
  perception = _perception(agent.num_candidates)
  practice = loop.Practice(rollout, perception, agent, config)
  found = {}
  state = practice.run(
    practice.init(),
    config.num_env_steps,
    lambda state, metrics: found.update(metrics),
  )
  assert found['phase'] == 'practice' and found['finite'] == 1.0
  assert found.keys() <= METRICS.keys()
  assert int(agent.num_updates(state.learner.agent)) > 500
  runner = evaluator_lib.Evaluator(
    rollout,
    perception,
    seed=1,
    chunk=_CHUNK,
    sizes=evaluator_lib.Sizes(8, 40),
  )
  base, _ = runner.run(evaluator_lib.base_policy(_CHUNK), 40)
  policy = evaluator_lib.agent_policy(
    agent, state.policy, chunk_size=_CHUNK, explore=False
  )
  after, _ = runner.run(policy, 40)
  rates = [statistics.throughput_per_10min(x, 50.0) for x in (base, after)]
  assert after.steps.max() <= 60 and np.isfinite(rates).all()
  # The two that only choose among what the VLA does are faster at once.
  assert name not in ('best_of_n', 'dsrl') or rates[1] > 1.1 * rates[0], rates
