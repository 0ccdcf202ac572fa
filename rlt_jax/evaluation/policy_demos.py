"""Episodes of a policy as the traces that demonstrations are recorded from."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rlt_jax.demonstrations.record import RollOut, Trace
from rlt_jax.evaluation.evaluator import Evaluator, Policy, Steering
from rlt_jax.types import Outcome, PRNGKey


def make_roll_out(
  make_evaluator: Callable[[int], Evaluator],
  policy: Policy | Steering,
  *,
  worlds: int,
  steps: int | None = None,
) -> RollOut:
  """Returns a function that lets a policy demonstrate.

  Args:
    make_evaluator: seed of the start states -> their evaluator.
    policy: the frozen VLA or the agent of a run.
    worlds: E, episodes at a time.
    steps: control steps after which an episode is given up; None is the task's
      limit.

  Returns:
    key -> trace of E episodes; the key is consumed.
  """

  def roll_out(key: PRNGKey) -> Trace:
    seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
    evaluator = make_evaluator(seed)
    final, states = evaluator.trace(policy, worlds, film=worlds)
    return to_trace(states, final, steps)

  return roll_out


def to_trace(
  states: Sequence[Sequence[Any]], final: Any, steps: int | None = None
) -> Trace:
  """Returns episodes of any lengths as one trace.

  Args:
    states: of each of E episodes, before each of its steps.
    final: [E] at their ends.
    steps: an episode that took more has been given up after so many, and is
      still running then.
  """
  final = jax.tree.map(np.asarray, final)
  ends, episodes = [], []
  for e, taken in enumerate(states):
    last = jax.tree.map(lambda x: x[e], final)  # noqa: B023
    if steps is not None and len(taken) > steps:
      taken, last = taken[:steps], taken[steps]
    ends.append(last)
    episodes.append([*taken, last])
  longest = max(len(episode) - 1 for episode in episodes)
  # What follows the end of a short episode is its last state.
  padded = [
    [episode[min(t, len(episode) - 1)] for episode in episodes]
    for t in range(longest + 1)
  ]
  rows = jax.tree.map(
    lambda *x: np.stack(x).reshape(longest + 1, len(ends), *np.shape(x[0])),
    *[state for row in padded for state in row],
  )
  return Trace(
    states=jax.tree.map(lambda x: x[:-1], rows),
    commands=rows.command[1:],
    running=rows.outcome[:-1] == Outcome.RUNNING,
    final=jax.tree.map(lambda *x: np.stack(x), *ends),
  )
