"""Corrections of a person as the traces that demonstrations are recorded from.

The policy drives; where it stalls, a simulated person takes over and finishes
the episode. What they drove is a demonstration of states that the policy
reaches, as HG-DAgger collects them (arXiv 1810.02890). They do not hand back:
so each chunk that begins in their part is theirs to its last step.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from rlt_jax.batching import tree_select
from rlt_jax.demonstrations.record import RollOut, Trace
from rlt_jax.evaluation.evaluator import Policy, Steering
from rlt_jax.evaluation.policy_demos import to_trace
from rlt_jax.rollout.chunk_rollout import (
  executed_states,
  find_diverged,
  RolloutFns,
  Trajectory,
)
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.rollout.perception import Perception
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.tasks.task import Outcome, State, Task, with_fields
from rlt_jax.types import PRNGKey


def make_roll_out(
  task: Task,
  rollout: RolloutFns,
  perception: Perception,
  policy: Policy | Steering,
  *,
  human: HumanConfig,
  chunk_size: int,
  worlds: int,
) -> RollOut:
  """Returns a function that lets a person correct a policy.

  Args:
    task: with an operator and a goal.
    rollout, perception: of the task.
    policy: its chunks are multiples of `chunk_size`.
    human: when the person takes over; their time is not limited, and they do
      not hand back.
    chunk_size: C, control steps between two decisions of the person.
    worlds: E, episodes at a time.

  Returns:
    key -> trace of the person's part of E episodes, of no steps where they did
    not take over; the key is consumed.

  Raises:
    ValueError: a task without an operator or a goal, or a policy that steers
      the VLA's noise.
  """
  if isinstance(policy, Steering):
    raise ValueError(
      'Corrections need a policy of chunks: this one steers the noise of the '
      'VLA.'
    )
  config = dataclasses.replace(
    human, demo_steps=0, help_minutes=math.inf, hand_back_mm=math.inf
  )
  person = SimulatedHuman(task, rollout, config, chunk_size)

  def roll_out(key: PRNGKey) -> Trace:
    reset_key, human_key, key = jax.random.split(key, 3)
    states = rollout.begin(jax.random.split(reset_key, worlds), worlds)
    watch = person.init(states, human_key)
    driven: list[list[Any]] = [[] for _ in range(worlds)]
    while (np.asarray(states.outcome) == Outcome.RUNNING).any():
      perceive_key, act_key, key = jax.random.split(key, 3)
      features = perception.perceive(states, perceive_key)
      chunk = policy(features, act_key)
      commands = perception.space.decode(chunk, features.pose)
      for start in range(0, commands.shape[1], chunk_size):
        part = commands[:, start : start + chunk_size]
        trajectory, watch = person.chunk(watch, states, part)
        worlds_driven = np.flatnonzero(watch.driving)
        made = executed_states(trajectory, worlds_driven)
        for e, steps in zip(worlds_driven, made, strict=True):
          driven[e] += steps
        states = _after(states, trajectory)
    return to_trace(driven, states)

  return roll_out


def _after(before: State, trajectory: Trajectory) -> State:
  """Returns the states after a chunk; a diverged world stands still, failed."""
  lost = find_diverged(before, trajectory.final)
  if not lost.any():
    return trajectory.final
  after = tree_select(lost, before, trajectory.final)
  lost &= np.asarray(after.outcome) == Outcome.RUNNING
  outcome = np.where(lost, Outcome.TIME_OUT, np.asarray(after.outcome))
  return with_fields(after, outcome=outcome)
