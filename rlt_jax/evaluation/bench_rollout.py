"""Executes chunks of commands in a task's bench, under C MuJoCo.

It takes the place of `rollout.chunk_rollout` in an evaluation, so that a policy
is judged by another implementation of the same physics. It is not jitted.
"""

import threading
from typing import Any

import jax
import numpy as np

from rlt_jax.rollout.chunk_rollout import RolloutFns, Trajectory
from rlt_jax.tasks.task import Bench, Outcome, Task, with_fields


def make(task: Task, begin: RolloutFns) -> RolloutFns:
  """Builds the functions of a task's bench.

  Args:
    task: one with a bench.
    begin: the jitted functions of the same task; episodes start as there.

  Raises:
    ValueError: the task has no bench.
  """
  if task.make_bench is None:
    raise ValueError(
      'C MuJoCo needs a task with a bench, Task.make_bench: '
      f'{task.spec.name!r} has none.'
    )
  local = threading.local()  # a bench is not thread-safe
  period = 1.0 / task.spec.control_hz

  def chunk(state: Any, commands: np.ndarray) -> Trajectory:
    if not hasattr(local, 'bench'):
      local.bench = task.make_bench()
    bench = local.bench
    substeps = round(period / bench.timestep)
    state = jax.tree.map(np.asarray, state)
    began = np.asarray(state.outcome) == Outcome.RUNNING
    worlds = [
      _run(bench, jax.tree.map(lambda x: x[e], state), row, substeps)  # noqa: B023
      for e, row in enumerate(np.asarray(commands))
    ]
    # [C + 1, E]: the state before each step, then the last one.
    states = jax.tree.map(
      lambda *x: np.stack(x, axis=1),
      *(jax.tree.map(lambda *x: np.stack(x), *world) for world in worlds),
    )
    before = jax.tree.map(lambda x: x[:-1], states)
    final = jax.tree.map(lambda x: x[-1], states)
    ended = began & (final.outcome != Outcome.RUNNING)
    timed_out = final.outcome == Outcome.TIME_OUT
    return Trajectory(
      states=before,
      final=final,
      measured=np.swapaxes(np.asarray(task.joint_positions(before)), 0, 1),
      command=np.swapaxes(states.command[1:], 0, 1),
      reward=states.reward[1:].T,
      valid=(before.outcome == Outcome.RUNNING).T,
      terminated=ended & ~timed_out,
      truncated=ended & timed_out,
    )

  return RolloutFns(chunk, begin.begin)


def _run(
  bench: Bench, state: Any, commands: np.ndarray, substeps: int
) -> list[Any]:
  """Returns the states of one world, before the first step and after each."""
  states = [state]
  bench.place(state)
  for command in commands:
    if states[-1].outcome != Outcome.RUNNING:
      ended = states[-1]
      states.append(with_fields(ended, reward=np.zeros_like(ended.reward)))
      continue
    bench.set_targets(np.asarray(command, np.float64))
    for _ in range(substeps):
      bench.step()
    states.append(jax.tree.map(lambda x: x[0], bench.world()))
  return states
