"""Episodes of a policy, recorded as demonstrations."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.demonstrations import collect, record
from rlt_jax.demonstrations.collect import CollectConfig
from rlt_jax.evaluation import policy_demos
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import ScriptedExpert
from rlt_jax.types import Outcome
from rlt_jax.vlas import demos as demos_lib
from tests.demonstrations import point_demo_task

_WORLDS, _LIMIT = 4, 12


@pytest.fixture(scope='module')
def task():
  return point_demo_task.make()


def _expert():
  """Returns an expert that is faster in some episodes than in others."""

  def begin(key, state, instruction):
    return jax.random.uniform(key, minval=0.003, maxval=0.012)

  def act(key, speed, state):
    way = jnp.array([0.1, -0.1]) - state.qpos[:2]
    step = speed * way / jnp.linalg.norm(way)
    return speed, state.qpos.at[:2].add(step)

  return ScriptedExpert(begin=begin, act=act)


@functools.cache
def _by_expert(task, seed, steps=_LIMIT):
  run = task.compile(
    functools.partial(
      record.demonstrate, task=task, expert=_expert(), steps=steps
    )
  )
  return jax.device_get(run(jax.random.key(seed), np.zeros(_WORLDS, np.int32)))


def _filmed(trace):
  """Returns the states of each episode, as an evaluator films them."""
  return [
    [
      jax.tree.map(lambda x: x[t, e], trace.states)  # noqa: B023
      for t in np.flatnonzero(trace.running[:, e])
    ]
    for e in range(_WORLDS)
  ]


def test_films_become_the_trace_of_the_same_episodes(task):
  expected = _by_expert(task, 0)
  found = policy_demos.to_trace(_filmed(expected), expected.final)
  lengths = expected.running.sum(0)
  assert len(set(lengths)) > 1  # of several lengths
  assert found.running.shape == (lengths.max(), _WORLDS)
  np.testing.assert_array_equal(found.running.sum(0), lengths)
  instruction, prompts = np.zeros(_WORLDS, int), ['go to the goal'] * _WORLDS
  for one, other in zip(
    *(
      record.record(x, instruction, prompts, task, stride=2)
      for x in (found, expected)
    ),
    strict=True,
  ):
    for name in ('frame_steps', 'joints', 'commands', 'final_pose', 'outcome'):
      np.testing.assert_array_equal(
        getattr(one, name), getattr(other, name), err_msg=name
      )


def test_an_episode_beyond_the_steps_is_given_up_where_it_was(task):
  whole = _by_expert(task, 0)
  steps = int(np.median(whole.running.sum(0)))
  cut = policy_demos.to_trace(_filmed(whole), whole.final, steps)
  expected = _by_expert(task, 0, steps)
  outcome = np.asarray(cut.final.outcome)
  assert set(outcome) == {int(Outcome.RUNNING), int(Outcome.SUCCESS)}
  np.testing.assert_array_equal(outcome, expected.final.outcome)
  np.testing.assert_array_equal(cut.final.qpos, expected.final.qpos)
  np.testing.assert_array_equal(
    cut.commands, expected.commands[: len(cut.commands)]
  )


class _Films:
  """An evaluator whose start states depend on its seed."""

  def __init__(self, task, seeds):
    self._task, self._seeds = task, seeds

  def __call__(self, seed):
    self._seeds.append(seed)
    trace = _by_expert(self._task, len(self._seeds))
    return types.SimpleNamespace(
      trace=lambda policy, episodes, film: (trace.final, _filmed(trace))
    )


def test_successes_of_a_policy_become_demonstrations(task, tmp_path):
  seeds = []
  roll_out = policy_demos.make_roll_out(
    _Films(task, seeds), policy=None, worlds=_WORLDS, steps=6
  )
  config = CollectConfig(
    episodes=8, worlds=4, other_every=0, stride=2, chunk_size=2, horizon=4
  )
  space = ActionSpace(np.full(3, 0.01, np.float32), 'offset')
  table = collect.Collector(task, roll_out, config, space).run(tmp_path / 'a')
  assert len(set(seeds)) == 2
  won = np.equal(table['outcome'], Outcome.SUCCESS)
  assert 0 < won.sum() < 8 and max(np.array(table['steps'])[won]) <= 6
  other = collect.Collector(task, roll_out, config, space, 'after a minute')
  with pytest.raises(ValueError, match="policy was None and is now 'after a m"):
    other.run(tmp_path / 'a', resume=True)
  demos = demos_lib.load(tmp_path / 'a', ('top',), lambda text: np.array([1]))
  assert demos.instructions == ('go to the goal',)
  assert len(np.unique(demos.frames.episode)) == won.sum()
  assert demos.action_scale == pytest.approx((0.01,) * 3)


def test_a_policy_follows_no_other_instructions(task):
  with pytest.raises(ValueError, match='other_every must be 0 for a policy: 3'):
    collect.Collector(task, lambda key: None, CollectConfig(other_every=3))
