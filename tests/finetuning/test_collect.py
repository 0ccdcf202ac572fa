"""Robot time of a point: how long, who drove, what is learned from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.finetuning import collect
from rlt_jax.finetuning.recorder import Recorder
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Outcome
from tests.demonstrations import point_demo_task
from tests.training import test_divergence

_HELP = HumanConfig(help_minutes=0.1, stall_s=0.4)  # 300 steps
_CONFIG = dataclasses.replace(
  test_divergence.CONFIG, num_env_steps=600, human=_HELP
)


@pytest.fixture(scope='module')
def setup():
  task = point_demo_task.make(_CONFIG.task)
  rollout = chunk_rollout.make(task)
  perception, agent = test_divergence.make_parts()
  person = SimulatedHuman(task, rollout, _HELP, _CONFIG.chunk_size)
  return TaskSetup(None, task, rollout, perception, agent, person)


def recorder(setup, **changes):
  settings = {'worlds': _CONFIG.num_envs, 'stride': 2, 'whole': False}
  return Recorder(setup.task, **(settings | changes))


def straight(perception):
  """A VLA that walks to the goal, 2 mm a step."""

  def perceive(states, key, prompt=None):
    features = perception.perceive(states, key, prompt)
    way = jnp.array([0.1, -0.1, 0.005]) - states.qpos
    way = way / jnp.maximum(jnp.linalg.norm(way, axis=-1, keepdims=True), 1e-6)
    steps = 0.002 * jnp.arange(1.0, 21.0)[:, None]
    return features._replace(reference=way[:, None] * steps / 0.01)

  return perception._replace(perceive=perceive)


def test_a_person_corrects_a_vla_that_stands_still(setup):
  seen = []
  found = collect.by_vla(
    setup, _CONFIG, recorder(setup), seen.append, key=jax.random.key(0)
  )
  assert found.env_steps >= 600 and seen[-1] == found.env_steps
  # All that they drove is there, and nothing else.
  assert sum(len(x.commands) for x in found.demos) == found.human_steps > 50
  for demo in found.demos:
    moved = np.linalg.norm(np.diff(demo.joints[:, :2], axis=0), axis=-1)
    assert (moved > 0.005).all()
  told = collect.describe(found)
  assert told['stretches'] == len(found.demos) == len(told['stretch_steps'])
  assert told['human_steps'] == found.human_steps and 'demos' not in told


def test_a_vla_alone_leaves_its_successes(setup):
  alone = setup._replace(human=None, perception=straight(setup.perception))
  found = collect.by_vla(
    alone,
    _CONFIG,
    recorder(alone, whole=True),
    lambda steps: None,
    key=jax.random.key(0),
  )
  assert found.human_steps == 0 and len(found.demos) >= 8
  assert len(found.demos) == found.episodes.success.sum()
  assert all(x.outcome == Outcome.SUCCESS for x in found.demos)
  lengths = sorted(len(x.commands) for x in found.demos)
  assert lengths == sorted(found.episodes.steps.tolist())


def test_an_agent_that_practices_is_corrected(setup):
  seen = []
  found = collect.by_agent(setup, _CONFIG, recorder(setup), seen.append)
  assert found.env_steps >= 600 and seen[-1] == found.env_steps
  assert found.critic_updates > 0
  assert sum(len(x.commands) for x in found.demos) == found.human_steps > 50


def test_the_same_key_collects_the_same(setup):
  one, same, other = (
    collect.by_vla(
      setup, _CONFIG, recorder(setup), lambda steps: None, key=jax.random.key(k)
    )
    for k in (0, 0, 1)
  )
  for x, y in zip(one.demos, same.demos, strict=True):
    np.testing.assert_array_equal(x.commands, y.commands)
  assert not np.array_equal(one.demos[0].commands, other.demos[0].commands)
