"""Robot time in which an agent or the VLA drives, and what is kept of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax.batching import tree_select
from rlt_jax.demonstrations.record import Demo
from rlt_jax.finetuning.recorder import Recorder
from rlt_jax.reporting import statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.rollout.chunk_rollout import find_diverged
from rlt_jax.rollout.simulated_human import HumanState, SimulatedHuman
from rlt_jax.training import loop
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Array, Outcome

# Called now and then with the control steps so far.
Progress = Callable[[int], None]


class Collected(NamedTuple):
  """What a time of driving has left.

  demos: what is to be learned from. env_steps: control steps of all worlds.
  human_steps: of these, a person drove. episodes: that ended. critic_updates:
  of an agent that practiced. columns: see `Recorder.columns`.
  """

  demos: list[Demo]
  env_steps: int
  human_steps: int
  episodes: Episodes
  critic_updates: int = 0
  columns: Mapping[str, np.ndarray] | None = None


class WatchedPerson:
  """A simulated person of whom each step is recorded."""

  def __init__(self, person: SimulatedHuman, recorder: Recorder):
    self._person, self._recorder = person, recorder

  def init(self, env_states: Any, key: Array) -> HumanState:
    """See `SimulatedHuman.init`."""
    return self._person.init(env_states, key)

  def chunk(
    self, human: HumanState, env_states: Any, commands: Array
  ) -> tuple[Any, HumanState]:
    """See `SimulatedHuman.chunk`."""
    trajectory, human = self._person.chunk(human, env_states, commands)
    self._recorder.add(env_states, trajectory, np.asarray(human.driving))
    return trajectory, human


def by_agent(
  setup: TaskSetup,
  config: PracticeConfig,
  recorder: Recorder,
  progress: Progress,
) -> Collected:
  """Lets an agent practice and keeps what the person who helps it drives.

  The VLA drives the warm-up, as in every practice.

  Args:
    setup: with a person.
    config: of the practice.
    recorder: of the person's steps.
    progress: called after each round.

  Raises:
    FloatingPointError: a number of the agent is no longer finite.
  """
  person = WatchedPerson(setup.human, recorder)
  practice = loop.Practice(
    setup.rollout_fns, setup.perception, setup.agent, config, person
  )
  state = practice.init()
  practice.compile(state)
  state = practice.run(
    state, config.num_env_steps, lambda now, _: progress(now.env_steps)
  )
  human = state.actors.human
  return Collected(
    demos=recorder.finish(state.actors.env_states),
    env_steps=state.env_steps,
    human_steps=int(human.demo_steps + human.help_steps),
    episodes=state.episodes(),
    critic_updates=int(setup.agent.num_updates(state.learner.agent)),
  )


def by_vla(
  setup: TaskSetup,
  config: PracticeConfig,
  recorder: Recorder,
  progress: Progress,
  *,
  key: Array,
) -> Collected:
  """Lets the VLA drive; it is asked again after each chunk of the row's length.

  Args:
    setup: of the VLA. With a person, their steps are recorded, else all.
    config: its `num_env_steps` are driven, the last chunk to its end.
    recorder: of the steps.
    progress: called after each chunk.
    key: consumed.
  """
  rollout, perception = setup.rollout_fns, setup.perception
  worlds, chunk_size = config.num_envs, config.chunk_size
  everywhere = np.ones(worlds, bool)
  reset_key, human_key, key = jax.random.split(key, 3)
  states = rollout.begin(jax.random.split(reset_key, worlds), worlds)
  person, human = None, None
  if setup.human is not None:
    person = WatchedPerson(setup.human, recorder)
    human = person.init(states, human_key)
  env_steps, outcomes, lengths = 0, [], []
  while env_steps < config.num_env_steps:
    perceive_key, reset_key, key = jax.random.split(key, 3)
    features = perception.perceive(states, perceive_key)
    chunk = features.reference[:, :chunk_size]
    commands = perception.space.decode(chunk, features.pose)
    if person is not None:
      trajectory, human = person.chunk(human, states, commands)
    else:
      trajectory = rollout.chunk(states, commands)
      recorder.add(states, trajectory, everywhere)
    lost = find_diverged(states, trajectory.final)
    outcome = np.where(lost, Outcome.TIME_OUT, trajectory.final.outcome)
    ended = outcome != Outcome.RUNNING
    env_steps += int(np.asarray(trajectory.valid).sum())
    outcomes.append(outcome[ended])
    lengths.append(np.asarray(trajectory.final.steps)[ended])
    states = trajectory.final
    if ended.any():
      fresh = rollout.begin(jax.random.split(reset_key, worlds), worlds)
      states = tree_select(ended, fresh, states)
    progress(env_steps)
  return Collected(
    demos=recorder.finish(states),
    env_steps=env_steps,
    human_steps=0 if human is None else int(human.help_steps),
    episodes=statistics.make_episodes(
      np.concatenate(outcomes), np.concatenate(lengths)
    ),
    columns=recorder.columns(),
  )


def describe(collected: Collected) -> dict[str, Any]:
  """Returns what a report says of it, JSON types.

  `stretches`, `stretch_steps`: number and control steps of what is learned
  from.
  """
  left_out = ('demos', 'episodes', 'columns')
  plain = {k: v for k, v in collected._asdict().items() if k not in left_out}
  return plain | {
    'episodes': statistics.to_plain(collected.episodes),
    'stretches': len(collected.demos),
    'stretch_steps': [len(demo.commands) for demo in collected.demos],
  }
