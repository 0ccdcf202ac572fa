"""Whole episodes, good and bad, with who drove each of their steps."""

from typing import Any

import numpy as np

from rlt_jax.finetuning.recap.marks import Frames
from rlt_jax.finetuning.recorder import Recorder
from rlt_jax.rollout.chunk_rollout import Trajectory
from rlt_jax.tasks.task import Task
from rlt_jax.types import Outcome


class EpisodeRecorder(Recorder):
  """Keeps every episode that ended, however it did."""

  def __init__(self, task: Task, *, worlds: int, stride: int):
    """Holds nothing yet; see `Recorder`."""
    super().__init__(task, worlds=worlds, stride=stride, whole=False)
    self._drove: list[list[bool]] = [[] for _ in range(worlds)]
    self._human: list[np.ndarray] = []

  def add(self, before: Any, trajectory: Trajectory, drives: np.ndarray):
    """Takes the steps of a chunk; `drives` says where a person drove."""
    fresh = np.asarray(before.steps) == 0
    valid = np.asarray(trajectory.valid).sum(axis=1)
    for e, who in enumerate(drives):
      drove = [] if fresh[e] else self._drove[e]
      self._drove[e] = drove + [bool(who)] * int(valid[e])
    super().add(before, trajectory, np.ones(len(drives), bool))

  def columns(self) -> dict[str, np.ndarray]:
    """Returns what `Frames` has of each stored frame but the episode."""
    parts = []
    for demo, human in zip(self.demos, self._human, strict=True):
      steps = demo.frame_steps
      won = demo.outcome == Outcome.SUCCESS
      parts.append({
        'steps_left': (len(demo.commands) - steps).astype(np.int32),
        'succeeded': np.full(len(steps), won),
        'human': human[steps],
      })  # fmt: skip
    return {
      name: np.concatenate([part[name] for part in parts])
      for name in Frames._fields[1:]
      if parts
    }

  def _close(self, world: int, states: Any) -> None:
    before = len(self.demos)
    super()._close(world, states)
    if len(self.demos) > before:
      self._human.append(np.asarray(self._drove[world], bool))

  def _is_kept(self, outcome: int) -> bool:
    return outcome != Outcome.RUNNING
