"""Stores demonstrations as the files that VLA training reads.

The files are those that `vlas.demos` reads: one .npz per shard, with a row per
stored frame.
"""

from collections.abc import Callable, Mapping, Sequence
import os
from typing import Protocol

import numpy as np

from rlt_jax import demo_files, files
from rlt_jax.demo_files import TaskFacts
from rlt_jax.sim import action_space
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.types import Array


class Demo(Protocol):
  """One recorded episode of T steps.

  images: camera -> uint8 [F, S, S, 3], at the steps in frame_steps [F].
  proprio: [T, P]. joints: [T, A] measured. rates: [T, A] measured, per s, or
  None. commands: [T, A] executed, rad and m. final_pose: [A] measured when it
  ended. prompt: the instruction.
  """

  images: Mapping[str, np.ndarray]
  frame_steps: np.ndarray
  proprio: np.ndarray
  joints: np.ndarray
  commands: np.ndarray
  final_pose: np.ndarray
  prompt: str
  rates: np.ndarray | None


def cut_chunks(demo: Demo, horizon: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns command chunks [F, H, A] and their valid mask [F, H].

  Past the end of the demonstration the last command is held.
  """
  index = demo.frame_steps[:, None] + np.arange(horizon)
  last = len(demo.commands) - 1
  return demo.commands[np.minimum(index, last)], index <= last


def measure_unit(
  demos: Sequence[Demo],
  instructions: Sequence[str],
  *,
  chunk_size: int,
  mode: str,
) -> ActionSpace:
  """Measures the action unit on the chunks of a task.

  Only whole chunks count: past its end a demonstration holds still.

  Args:
    demos: to measure.
    instructions: of the task, in all its phrasings.
    chunk_size: C.
    mode: one of `action_space.MODES`.

  Raises:
    ValueError: no whole chunk of them.
  """
  commands, poses = [], []
  for demo in demos:
    if demo.prompt not in instructions:
      continue
    chunk, valid = cut_chunks(demo, chunk_size)
    whole = valid.all(axis=1)
    commands.append(chunk[whole])
    poses.append(_poses(demo)[whole])
  if not sum(map(len, commands)):
    raise ValueError(
      f'An action unit needs a demonstration of {instructions[0]!r} that is at '
      f'least chunk_size steps long: none with {chunk_size}.'
    )
  return action_space.fit(
    np.concatenate(commands), np.concatenate(poses), mode=mode
  )


def load_space(folder: str | os.PathLike[str]) -> ActionSpace:
  """Returns the action space of demonstrations written before.

  Raises:
    ValueError: no demonstrations in the folder, or a damaged file.
  """
  with demo_files.open_shard(demo_files.find(folder).shards[0]) as shard:
    return ActionSpace(
      shard.read('action_scale'), str(shard.read('action_mode'))
    )


def to_columns(
  demos: Sequence[Demo],
  space: ActionSpace,
  *,
  first: int,
  horizon: int,
  control_hz: float,
  remaining_motion: Callable[[Array, Array], Array],
) -> dict[str, np.ndarray]:
  """Returns demonstrations as columns [F, ...], F over all of them.

  Args:
    demos: at least one.
    space: of the chunks.
    first: number of the first episode; the others follow.
    horizon: H.
    control_hz: steps per second.
    remaining_motion: (poses [F, A], final pose [A]) -> [F, 6], how the tip has
      yet to move (m) and turn (rotation vector, rad), in its own frame.

  Returns:
    The arrays that `vlas.demos.load` reads, images as 'images/<camera>'.
  """
  parts = []
  for index, demo in enumerate(demos, start=first):
    commands, valid = cut_chunks(demo, horizon)
    pose, rows = _poses(demo), len(demo.frame_steps)
    parts.append({
      **{f'images/{name}': image for name, image in demo.images.items()},
      'proprio': demo.proprio[demo.frame_steps].astype(np.float32),
      'joints': _joints(demo, control_hz)[demo.frame_steps],
      'instruction': np.full(rows, demo.prompt),
      'chunk': np.asarray(space.encode(commands, pose), np.float32),
      'chunk_valid': valid,
      'remaining_motion': np.asarray(
        remaining_motion(pose, demo.final_pose), np.float32
      ),
      'episode': np.full(rows, index, np.int32),
    })  # fmt: skip
  return {name: np.concatenate([x[name] for x in parts]) for name in parts[0]}


def save_shard(
  path: str | os.PathLike[str],
  columns: Mapping[str, np.ndarray],
  space: ActionSpace,
  *,
  joint_names: Sequence[str],
  control_hz: float,
  task: TaskFacts | None = None,
) -> None:
  """Writes a shard: the columns, the action space of their chunks, the task.

  The file is whole under its name or not there, also after a kill.
  """
  if task is not None:
    columns = {**columns, 'task': np.array(task.to_json())}
  with files.open_atomically(path) as file:
    np.savez(
      file,
      **columns,
      action_scale=space.scale,
      action_mode=np.array(space.mode),
      joint_names=np.array(joint_names),
      control_hz=np.array(control_hz),
    )


def _joints(demo: Demo, control_hz: float) -> np.ndarray:
  """Returns joints float32 [T, 2 A]: positions, then velocities per s.

  A velocity is the difference to the step before where the task does not
  measure it.
  """
  if demo.rates is not None:
    return np.concatenate([demo.joints, demo.rates], axis=1, dtype=np.float32)
  before = np.concatenate([demo.joints[:1], demo.joints[:-1]])
  velocities = (demo.joints - before) * control_hz
  return np.concatenate([demo.joints, velocities], axis=1, dtype=np.float32)


def _poses(demo: Demo) -> np.ndarray:
  """Returns the measured joints [F, A] at the stored frames."""
  return demo.joints[demo.frame_steps]
