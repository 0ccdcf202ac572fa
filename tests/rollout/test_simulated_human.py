"""A simulated person: when they drive, and what practice makes of it."""

import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.dsrl import agent as dsrl
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.tasks.task import ScriptedExpert
from rlt_jax.training import actors, loop, multi_seed
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Outcome, Source
from tests.demonstrations import point_demo_task
from tests.training import test_divergence

# A quarter of a second without progress is 2 chunks at 50 Hz, rounded up.
_HELP = HumanConfig(help_minutes=1.0, stall_s=0.4, progress_mm=1.0)
_CONFIG = dataclasses.replace(test_divergence.CONFIG, num_env_steps=600)


@pytest.fixture(scope='module')
def task():
  return point_demo_task.make(_CONFIG.task)


@pytest.fixture(scope='module')
def rollout(task):
  return chunk_rollout.make(task)


def _person(task, rollout, **changes):
  config = dataclasses.replace(_HELP, **changes)
  return SimulatedHuman(task, rollout, config, _CONFIG.chunk_size)


def _worlds(rollout, distances_mm, steps):
  """Returns worlds at distances from the goal, after steps of an episode."""
  num = len(distances_mm)
  state = rollout.begin(jax.random.split(jax.random.key(0), num), num)
  goal = np.array([0.1, -0.1, 0.005], np.float32)
  place = np.array([[1e-3 * x, 0.0, 0.0] for x in distances_mm], np.float32)
  return state.replace(qpos=goal + place, steps=np.full(num, steps, np.int32))


def _decide(person, human, rollout, distances_mm, steps):
  human, begins = person.decide(human, _worlds(rollout, distances_mm, steps))
  return human, human.driving.tolist(), begins.tolist()


def test_they_take_over_where_nothing_moves_and_hand_back(task, rollout):
  person = _person(task, rollout)
  human = person.init(_worlds(rollout, [40, 40], 0), jax.random.key(1))
  human, driving, _ = _decide(person, human, rollout, [40, 40], 0)
  assert driving == [False, False]
  # The second is 1.5 mm nearer, which is progress; the first only 0.5 mm.
  human, driving, _ = _decide(person, human, rollout, [39.5, 38.5], 10)
  assert driving == [False, False]
  human, driving, begins = _decide(person, human, rollout, [39.5, 38.5], 20)
  assert driving == begins == [True, False]
  human, driving, begins = _decide(person, human, rollout, [36.0, 38.5], 30)
  assert driving == [True, True] and begins == [False, True]
  # 4 mm nearer than where they took over, they hand back, and wait again.
  human, driving, _ = _decide(person, human, rollout, [35.0, 37.0], 40)
  assert driving == [False, True]
  human, driving, _ = _decide(person, human, rollout, [35.0, 34.0], 50)
  assert driving == [False, False]
  # A new episode begins with nobody, however the last one ended.
  human, driving, _ = _decide(person, human, rollout, [35.0, 34.0], 60)
  assert driving == [True, False]
  human, driving, _ = _decide(person, human, rollout, [45.0, 45.0], 0)
  assert driving == [False, False]


def test_they_stop_where_their_time_is_spent(task, rollout):
  person = _person(task, rollout, help_minutes=0.01)  # 30 steps
  worlds = _worlds(rollout, [40, 40], 20)
  human = person.init(worlds, jax.random.key(1)).replace(
    stalled=np.array([10, 0], np.int32), nearest=np.full(2, 0.04, np.float32)
  )
  commands = np.repeat(np.asarray(worlds.qpos)[:, None], 10, axis=1)
  trajectory, human = person.chunk(human, worlds, commands)
  assert human.driving.tolist() == [True, False]
  # The expert walks the 40 mm to 10 mm before the goal in 3 steps of 10 mm.
  taken = np.asarray(trajectory.valid).sum(1)
  assert taken.tolist() == [4, 10] or taken.tolist() == [3, 10]
  assert trajectory.final.outcome.tolist()[0] == Outcome.SUCCESS
  np.testing.assert_array_equal(trajectory.command[1], commands[1])
  assert human.help_steps == taken[0] and human.demo_steps == 0
  spent = human.replace(
    help_steps=np.int32(30), stalled=np.full(2, 50, np.int32)
  )
  _, driving, _ = _decide(person, spent, rollout, [40, 40], 40)
  assert driving == [False, False]


def test_demonstrations_are_driven_to_their_end(task, rollout):
  person = _person(task, rollout, demo_steps=5, help_minutes=0.0)
  human = person.init(_worlds(rollout, [40, 40], 0), jax.random.key(1))
  human, driving, begins = _decide(person, human, rollout, [40, 40], 0)
  assert driving == begins == [True, True]
  # Progress does not make them hand back, nor does the end of the budget.
  human = human.replace(demo_steps=np.int32(8))
  human, driving, begins = _decide(person, human, rollout, [20, 40], 10)
  assert driving == [True, True] and begins == [False, False]
  human, driving, _ = _decide(person, human, rollout, [40, 40], 0)
  assert driving == [False, False]


def test_what_they_remember_of_a_diverged_world_stays_finite(task, rollout):
  expert = ScriptedExpert(
    begin=lambda key, state, instruction: state.qpos,
    act=lambda key, memory, state: (state.qpos, state.qpos),
  )
  remembers = dataclasses.replace(task, make_expert=lambda config: expert)
  person = _person(remembers, rollout, demo_steps=1000)
  perception, agent = test_divergence.make_parts()
  collector = actors.Actors(rollout, perception, agent, _CONFIG, human=person)
  state = collector.init(jax.random.key(0))
  chunk = person._chunk

  def breaks(*given):
    trajectory, memory = chunk(*given)
    final = trajectory.final
    final = final.replace(qpos=final.qpos.at[1].set(np.nan))
    return trajectory._replace(final=final), memory.at[1].set(np.nan)

  person._chunk = breaks
  state, output = collector.collect(state, None)
  assert output.diverged.tolist() == [False, True, False, False]
  assert np.isfinite(state.human.memory).all()


def test_practice_learns_from_what_they_did(task, rollout):
  perception, agent = test_divergence.make_parts()
  person = _person(task, rollout)
  rounds = []

  def run(human, config=_CONFIG):
    practice = loop.Practice(rollout, perception, agent, config, human)
    return practice.run(
      practice.init(), config.num_env_steps,
      lambda state, metrics: rounds.append(metrics),
    )  # fmt: skip

  state = run(person)
  source = np.asarray(state.learner.replay.rows.source)
  assert (source[: int(state.learner.replay.size)] == Source.HUMAN).any()
  # The point does not move by itself: each success is the person's.
  assert state.episodes().success.all() and len(state.episodes().success) > 3
  steps = sum(metrics['human_steps'] for metrics in rounds)
  assert steps == int(state.actors.human.help_steps) > 0
  again = run(person)
  _check_equal(state, again)
  assert not run(None).episodes().success.any()
  assert 'human_steps' not in rounds[-1]


def _check_equal(one, other):
  for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(
      *(jax.random.key_data(k) if jax.dtypes.issubdtype(
        getattr(k, 'dtype', None), jax.dtypes.prng_key) else k for k in (x, y))
    )  # fmt: skip


def test_who_cannot_help_is_refused(task, rollout):
  blind = dataclasses.replace(task, goal_pose=None, make_expert=None)
  with pytest.raises(
    ValueError, match=r"point lacks \['make_expert', 'goal_pose'\]"
  ):
    _person(blind, rollout)
  config = dataclasses.replace(_CONFIG, human=_HELP)
  perception, agent = test_divergence.make_parts()
  with pytest.raises(ValueError, match='several seeds .* at once: 0, 1.0'):
    multi_seed.MultiSeed(rollout, perception, agent, config, [0, 1])
  steering = dsrl.make(dsrl.DsrlConfig(), Sizes(3, 3, 10, 3, (2,), 20))
  config = dataclasses.replace(config, replay_stride=10)
  with pytest.raises(ValueError, match='steers the VLA: 0, 1.0'):
    actors.Actors(
      rollout, perception, steering, config, human=_person(task, rollout)
    )


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'demo_steps': -1}, 'demo_steps must not be negative: -1'),
    ({'help_minutes': -0.5}, 'help_minutes must not be negative: -0.5'),
    ({'stall_s': 0.0}, 'stall_s must be positive: 0.0'),
    ({'hand_back_mm': float('nan')}, 'hand_back_mm must be positive: nan'),
  ],
)
def test_settings_that_cannot_work_are_refused(changes, rule):
  with pytest.raises(ValueError, match=rule):
    HumanConfig(**changes)
  assert not HumanConfig().present and HumanConfig(demo_steps=1).present


def test_settings_of_help_need_help():
  rule = 'human.stall_s needs human.help_minutes above 0, .*: 1.0'
  for human in (HumanConfig(stall_s=1.0), HumanConfig(demo_steps=9, stall_s=1)):
    with pytest.raises(ValueError, match='human.stall_s needs'):
      PracticeConfig(human=human)
  with pytest.raises(ValueError, match=rule):
    HumanConfig(stall_s=1.0).check_read()
  PracticeConfig(human=HumanConfig(help_minutes=1.0, stall_s=1.0))
