"""What a person drove where a policy stalled, recorded as demonstrations."""

import jax
import numpy as np
import pytest

from rlt_jax.demonstrations import collect
from rlt_jax.demonstrations.collect import CollectConfig
from rlt_jax.evaluation import corrections
from rlt_jax.evaluation.evaluator import base_policy, Steering
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.types import Outcome
from rlt_jax.vlas import demos as demos_lib
from tests.demonstrations import point_demo_task
from tests.training import test_divergence

_WORLDS, _CHUNK, _HORIZON = 4, 10, 20
_STAYS = base_policy(_HORIZON)


@pytest.fixture(scope='module')
def task():
  return point_demo_task.make(TaskConfig(time_limit=200))


@pytest.fixture(scope='module')
def rollout(task):
  return chunk_rollout.make(task)


def _correct(task, rollout, policy, **changes):
  perception, _ = test_divergence.make_parts()
  human = HumanConfig(stall_s=0.4)
  settings = {'human': human, 'chunk_size': _CHUNK, 'worlds': _WORLDS}
  return corrections.make_roll_out(
    task, rollout, perception, policy, **(settings | changes)
  )


def _straight(features, key):
  """A policy that walks to the goal in the worlds that are right of it."""
  del key
  way = np.array([0.1, -0.1]) - np.asarray(features.pose)[:, :2]
  steps = np.linspace(0.05, 1.0, _HORIZON)[None, :, None] * way[:, None] / 0.01
  chunk = np.pad(steps, ((0, 0), (0, 0), (0, 1)))
  return np.where((way[:, 0] < 0)[:, None, None], chunk, 0.0)


def test_the_person_finishes_what_stalls(task, rollout):
  trace = _correct(task, rollout, _STAYS)(jax.random.key(0))
  steps = np.asarray(trace.final.steps)
  assert (np.asarray(trace.final.outcome) == Outcome.SUCCESS).all()
  # They wait for 20 steps; what they drove ends with the episode.
  np.testing.assert_array_equal(trace.running.sum(0), steps - 20)
  first = np.asarray(trace.states.steps)[0]
  np.testing.assert_array_equal(first, 20)
  moved = np.linalg.norm(np.diff(trace.states.qpos[:, :, :2], axis=0), axis=-1)
  assert (moved[trace.running[1:]] > 0.005).all()


def test_what_succeeds_alone_is_not_recorded(task, rollout):
  trace = _correct(task, rollout, _straight)(jax.random.key(0))
  alone = np.asarray(trace.final.steps) <= 20
  assert 0 < alone.sum() < _WORLDS
  lengths = np.asarray(trace.running).sum(0)
  np.testing.assert_array_equal(lengths == 0, alone)


def test_corrections_become_demonstrations(task, rollout, tmp_path):
  config = CollectConfig(
    episodes=8, worlds=_WORLDS, other_every=0, stride=2, horizon=_HORIZON
  )
  space = test_divergence.make_parts()[0].space
  roll_out = _correct(task, rollout, _straight)
  collector = collect.Collector(task, roll_out, config, space)
  table = collector.run(tmp_path / 'a')
  assert len(table['outcome']) == 8 and 0 < sum(table['shards']) < 8
  demos = demos_lib.load(tmp_path / 'a', ('top',), lambda text: np.array([1]))
  assert len(np.unique(demos.frames.episode)) == sum(table['shards'])


def test_same_key_same_corrections(task, rollout):
  roll_out = _correct(task, rollout, _STAYS)
  one, same, other = (roll_out(jax.random.key(k)) for k in (0, 0, 1))
  np.testing.assert_array_equal(one.commands, same.commands)
  assert not np.array_equal(one.final.qpos, other.final.qpos)


def test_a_world_that_diverges_ends_as_failed(task, rollout):
  calls = []

  def chunk(states, commands):
    made = rollout.chunk(states, commands)
    calls.append(None)
    if len(calls) > 1:
      return made
    qpos = made.final.qpos.at[1].set(np.nan)
    return made._replace(final=made.final.replace(qpos=qpos))

  roll_out = _correct(task, rollout._replace(chunk=chunk), _STAYS)
  trace = roll_out(jax.random.key(0))
  outcome = [Outcome.SUCCESS, Outcome.TIME_OUT, *[Outcome.SUCCESS] * 2]
  np.testing.assert_array_equal(trace.final.outcome, outcome)
  assert np.isfinite(trace.final.qpos).all()
  assert trace.running.sum(0)[1] == 0


def test_a_policy_of_noise_is_refused(task, rollout):
  with pytest.raises(ValueError, match='steers the noise of the VLA'):
    _correct(task, rollout, Steering(lambda features, key: None, _CHUNK))
