"""Rolls out a scripted expert and records demonstrations, as on a robot.

A demonstration holds images, proprioception, the instruction and the executed
commands; nothing of the simulator's state.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.task import Outcome, ScriptedExpert, State, Task
from rlt_jax.types import Array, PRNGKey


@chex.dataclass(frozen=True)
class Trace:
  """Rolled-out demonstrations; leaves lead with [T, E].

  states: before each step. commands: [T, E, A] executed. running: bool [T, E]
  the step was part of the episode. final: State [E] at the end.
  """

  states: State
  commands: Array
  running: Array
  final: State


# A batch of episodes of a policy: the key, consumed, -> their trace.
RollOut = Callable[[PRNGKey], Trace]


def demonstrate(
  key: PRNGKey,
  instruction: Array,
  *,
  task: Task,
  expert: ScriptedExpert,
  steps: int,
) -> Trace:
  """Rolls out one demonstration per world; jit it with `task.compile`.

  Args:
    key: consumed.
    instruction: int32 [E], see `ScriptedExpert`.
    task, expert, steps: static; steps beyond the time limit are idle.
  """
  num = instruction.shape[0]
  reset_key, begin_key, act_key = jax.random.split(key, 3)
  state = jax.vmap(task.reset)(jax.random.split(reset_key, num))
  memory = jax.vmap(expert.begin)(
    jax.random.split(begin_key, num), state, instruction
  )

  def step(carry, key):
    state, memory = carry
    memory, command = jax.vmap(expert.act)(
      jax.random.split(key, num), memory, state
    )
    after = over_worlds(task.step)(state, command)
    running = state.outcome == Outcome.RUNNING
    return (after, memory), (state, after.command, running)

  (final, _), (states, commands, running) = jax.lax.scan(
    step, (state, memory), jax.random.split(act_key, steps)
  )
  return Trace(states=states, commands=commands, running=running, final=final)


def finite_worlds(trace: Trace, task: Task) -> np.ndarray:
  """Returns bool [E]: True where all that is recorded of a world is finite.

  Args:
    trace: leaves [T, E].
    task: of the trace.
  """
  arrays = (
    np.asarray(task.proprio(trace.states)),
    np.asarray(trace.commands),
    np.asarray(task.joint_positions(trace.final))[None],
  )
  return np.all([np.isfinite(x).all(axis=(0, 2)) for x in arrays], axis=0)


def keep_worlds(trace: Trace, worlds: np.ndarray) -> Trace:
  """Returns a trace [T, E] with some worlds, bool [E], on the host."""
  if worlds.all():
    return trace

  def keep(tree, axis):
    return jax.tree.map(
      lambda x: np.compress(worlds, np.asarray(x), axis=axis), tree
    )

  return Trace(
    states=keep(trace.states, 1),
    commands=keep(trace.commands, 1),
    running=keep(trace.running, 1),
    final=keep(trace.final, 0),
  )


class Demo(NamedTuple):
  """One episode of T steps.

  images: camera -> uint8 [T', S, S, 3], at the steps in `frame_steps` [T'].
  proprio: [T, P]. joints: [T, A] measured, rad and m. rates: [T, A] measured,
  per s; None for a task that measures none. commands: [T, A] executed.
  final_pose: [A] measured when it ended. prompt: text. outcome: see
  `tasks.task.Outcome`.
  """

  images: dict[str, np.ndarray]
  frame_steps: np.ndarray
  proprio: np.ndarray
  joints: np.ndarray
  commands: np.ndarray
  final_pose: np.ndarray
  prompt: str
  outcome: int
  rates: np.ndarray | None = None


class Episode(NamedTuple):
  """One episode of a trace; leaves of `states` are [T, ...]."""

  states: Any
  commands: np.ndarray
  final_pose: np.ndarray
  prompt: str
  outcome: int


def split(
  trace: Trace,
  instruction: np.ndarray,
  prompts: Sequence[str],
  task: Task,
  other_steps: int,
) -> Iterator[Episode]:
  """Yields the episodes of a trace, one per world; none of no steps.

  Args:
    trace: leaves [T, E].
    instruction: int [E], as `demonstrate` had it.
    prompts: [E], the words of each.
    task: of the trace.
    other_steps: an episode of another instruction than the task's has no
      success that ends it, so it is cut after this many steps.
  """
  trace = jax.tree.map(np.asarray, trace)
  final_pose = np.asarray(task.joint_positions(trace.final))
  for e, (which, prompt) in enumerate(zip(instruction, prompts, strict=True)):
    length = int(trace.running[:, e].sum())
    if not length:
      continue
    outcome, last = int(trace.final.outcome[e]), final_pose[e]
    if which:
      length = min(other_steps, length - 1)
      row = jax.tree.map(lambda x: x[length, e], trace.states)  # noqa: B023
      last = np.asarray(task.joint_positions(row))
      outcome = Outcome.TIME_OUT
    states = jax.tree.map(lambda x: x[:length, e], trace.states)  # noqa: B023
    yield Episode(states, trace.commands[:length, e], last, prompt, outcome)


def record(
  trace: Trace,
  instruction: np.ndarray,
  prompts: Sequence[str],
  task: Task,
  *,
  stride: int,
  other_steps: int = 90,
  batch: int = 16,
) -> list[Demo]:
  """Renders a trace's episodes every `stride` steps.

  Args:
    trace: leaves [T, E].
    instruction: int [E], as `demonstrate` had it.
    prompts: [E], the words of each.
    task: of the trace; its cameras are used.
    stride: control steps between frames.
    other_steps: see `split`.
    batch: worlds per call, fixed so that it compiles once.
  """
  demos = []
  for episode in split(trace, instruction, prompts, task, other_steps):
    steps = np.arange(0, len(episode.commands), stride)
    # Pad by repeating the last world: a fixed batch compiles once.
    padded = np.minimum(
      np.arange(-(-len(steps) // batch) * batch) * stride, steps[-1]
    )
    parts = [
      task.render(
        jax.tree.map(lambda x: jnp.asarray(x[rows]), episode.states)  # noqa: B023
      )
      for rows in padded.reshape(-1, batch)
    ]
    images = {
      name: np.concatenate([np.asarray(part[name]) for part in parts])[
        : len(steps)
      ]
      for name in parts[0]
    }
    demos.append(
      Demo(
        images=images,
        frame_steps=steps,
        proprio=np.asarray(task.proprio(episode.states)),
        joints=np.asarray(task.joint_positions(episode.states)),
        commands=episode.commands,
        final_pose=episode.final_pose,
        prompt=episode.prompt,
        outcome=episode.outcome,
        rates=(
          None
          if task.joint_rates is None
          else np.asarray(task.joint_rates(episode.states))
        ),
      )
    )
  return demos
