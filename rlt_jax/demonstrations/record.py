"""Turns the teacher's traces into demonstrations: frames, prompt and all.

A demonstration holds what a robot's recorder would: images, proprioception,
the instruction and the executed commands. Nothing of the simulator's state.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.tasks.ethernet import insertion
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib


class Demo(NamedTuple):
  """One episode of T steps.

  images: camera -> uint8 [T', S, S, 3], at the steps in `frame_steps` [T'].
  proprio: [T, P]. commands: [T, A] executed, rad and m. final_pose: [A]
  measured when it ended. prompt: text. outcome: see `insertion.Outcome`.
  """

  images: dict[str, np.ndarray]
  frame_steps: np.ndarray
  proprio: np.ndarray
  commands: np.ndarray
  final_pose: np.ndarray
  prompt: str
  outcome: int


def split(trace: scripted_expert_lib.Trace, lift: np.ndarray, lift_steps: int):
  """Yields (states, commands, final_pose, prompt, outcome) an episode.

  Leaves of `states` are [T, ...]. Lifting has no success to end it, so it is
  cut after `lift_steps`.
  """
  trace = jax.tree.map(np.asarray, trace)
  final_pose = np.asarray(insertion.joint_positions(trace.final))
  for e, is_lift in enumerate(lift):
    length = int(trace.running[:, e].sum())
    outcome, last = int(trace.final.outcome[e]), final_pose[e]
    if is_lift:
      length = min(lift_steps, length - 1)
      row = trace.states.qpos[length, e]
      last = np.asarray(insertion.scene_lib.to_joints(row))
      outcome = insertion.Outcome.TIME_OUT
    states = jax.tree.map(lambda x: x[:length, e], trace.states)  # noqa: B023
    prompt = scripted_expert_lib.LIFT if is_lift else scripted_expert_lib.INSERT
    yield states, trace.commands[:length, e], last, prompt, outcome


def record(
  trace: scripted_expert_lib.Trace,
  lift: np.ndarray,
  *,
  render: Callable,
  stride: int,
  lift_steps: int = 90,
  batch: int = 16,
) -> list[Demo]:
  """Renders a trace's episodes every `stride` steps.

  Args:
    trace: leaves [T, E].
    lift: bool [E], which episodes were lifts.
    render: from `camera.make`; called on `batch` worlds at a time.
    stride: control steps between frames.
    lift_steps: length of a lift.
    batch: worlds a call, fixed so that one program serves all.
  """
  demos = []
  for states, commands, final_pose, prompt, outcome in split(
    trace, lift, lift_steps
  ):
    steps = np.arange(0, len(commands), stride)
    # Pad by repeating the last world: a fixed batch compiles once.
    padded = np.minimum(
      np.arange(-(-len(steps) // batch) * batch) * stride, steps[-1]
    )
    chunks = [
      render(jax.tree.map(lambda x: jnp.asarray(x[rows]), states))  # noqa: B023
      for rows in padded.reshape(-1, batch)
    ]
    images = {
      name: np.concatenate([np.asarray(c[name]) for c in chunks])[: len(steps)]
      for name in chunks[0]
    }
    demos.append(
      Demo(
        images=images,
        frame_steps=steps,
        proprio=np.asarray(insertion.proprio(states)),
        commands=commands,
        final_pose=final_pose,
        prompt=prompt,
        outcome=outcome,
      )
    )
  return demos


def chunks(demo: Demo, horizon: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns command chunks [T', H, A] and their valid mask [T', H].

  Past the end of the demonstration the last command is held.
  """
  index = demo.frame_steps[:, None] + np.arange(horizon)
  last = len(demo.commands) - 1
  return demo.commands[np.minimum(index, last)], index <= last
