"""Executes chunks of commands in E worlds."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.batching import map_in_batches
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.task import Outcome, State, Task
from rlt_jax.types import Array


class Trajectory(NamedTuple):
  """C control steps of E worlds.

  states: State [C, E] before each step. final: State [E] after the last one.
  measured, command: [E, C, A] the pose before each step and the executed
  command, rad and m. reward: [E, C]. valid: bool [E, C], False once the
  episode had ended. terminated, truncated: bool [E], see `Segment`.
  """

  states: State
  final: State
  measured: Array
  command: Array
  reward: Array
  valid: Array
  terminated: Array
  truncated: Array


class RolloutFns(NamedTuple):
  """Jitted functions of a task; share them, since each compiles once.

  chunk: (State [E], commands [E, C, A]) -> Trajectory. begin: (keys [M], size)
  -> State [M] of new episodes, reset in batches of `size`, so that one size
  compiles once for every M. The keys are consumed.
  """

  chunk: Callable[[State, Array], Trajectory]
  begin: Callable[[Array, int], State]


def roll(
  task: Task,
  state: State,
  act: Callable[[Any, State, Any], tuple[Any, Array]],
  memory: Any,
  steps: Any,
) -> tuple[Trajectory, Any]:
  """Executes C control steps of E worlds; jit it with `task.compile`.

  Args:
    task: of the worlds.
    state: [E].
    act: (memory, State [E], a step of `steps`) -> (memory, commands [E, A]).
    memory: of `act`, before the first step.
    steps: what `act` reads; leaves lead with [C].

  Returns:
    The trajectory, and the memory after it.
  """
  began = state.outcome == Outcome.RUNNING
  many = over_worlds(task.step)

  def step(carry, given):
    state, memory = carry
    memory, command = act(memory, state, given)
    after = many(state, command)
    running = state.outcome == Outcome.RUNNING
    return (after, memory), (state, after.command, after.reward, running)

  (final, memory), (states, executed, reward, valid) = jax.lax.scan(
    step, (state, memory), steps
  )
  ended = began & (final.outcome != Outcome.RUNNING)
  timed_out = final.outcome == Outcome.TIME_OUT
  trajectory = Trajectory(
    states=states,
    final=final,
    measured=jnp.swapaxes(task.joint_positions(states), 0, 1),
    command=jnp.swapaxes(executed, 0, 1),
    reward=reward.T,
    valid=valid.T,
    terminated=ended & ~timed_out,
    truncated=ended & timed_out,
  )
  return trajectory, memory


def make(task: Task) -> RolloutFns:
  """Jits a task. Share the result: compiling it takes a minute."""

  def chunk(state: State, commands: Array) -> Trajectory:
    steps = jnp.swapaxes(commands, 0, 1)
    return roll(task, state, lambda none, _, now: (none, now), None, steps)[0]

  reset = task.compile(jax.vmap(task.reset))

  def begin(keys: Array, size: int) -> State:
    return map_in_batches(reset, keys, size)

  return RolloutFns(task.compile(chunk), begin)


def executed_states(
  trajectory: Trajectory, worlds: Sequence[int]
) -> list[list[State]]:
  """Returns the states before each executed step of some worlds, on the host.

  Args:
    trajectory: of E worlds.
    worlds: numbers of those wanted.
  """
  states = jax.tree.map(np.asarray, trajectory.states)
  valid = np.asarray(trajectory.valid)
  return [
    [
      jax.tree.map(lambda x: x[t, e], states)  # noqa: B023
      for t in np.flatnonzero(valid[e])
    ]
    for e in worlds
  ]


def find_diverged(before: Any, after: Any) -> np.ndarray:
  """Returns bool [E]: True where a finite number of a world is so no longer.

  A number that was infinite and is NaN counts as well.

  Args:
    before, after: states [E]. A task may use infinity in states of its own.
  """

  def lost(x: Array, y: Array) -> np.ndarray:
    x, y = np.asarray(x), np.asarray(y)
    gone = np.isfinite(x) & ~np.isfinite(y) | np.isnan(y) & ~np.isnan(x)
    return gone.reshape(len(gone), -1).any(axis=1)

  pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
  return np.any([lost(x, y) for x, y in pairs], axis=0)
