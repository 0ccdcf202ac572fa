"""Turns what somebody drove in several worlds into demonstrations."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rlt_jax.demonstrations import record
from rlt_jax.demonstrations.record import Demo
from rlt_jax.evaluation import policy_demos
from rlt_jax.rollout.chunk_rollout import (
  executed_states,
  find_diverged,
  Trajectory,
)
from rlt_jax.tasks.task import Task
from rlt_jax.types import Outcome


class Recorder:
  """Collects stretches of episodes, chunk by chunk.

  A stretch ends with its episode or where somebody else drives on. It is
  rendered then, so that no more states are held than those of stretches that go
  on.

  demos: the stretches so far.
  """

  def __init__(self, task: Task, *, worlds: int, stride: int, whole: bool):
    """Holds nothing yet.

    Args:
      task: with cameras.
      worlds: E.
      stride: control steps between two frames.
      whole: keeps only stretches that end in success; else all that do not end
        in a failure.
    """
    self._task, self._stride, self._whole = task, stride, whole
    self._open: list[list[Any]] = [[] for _ in range(worlds)]
    self.demos: list[Demo] = []

  def add(self, before: Any, trajectory: Trajectory, drives: np.ndarray):
    """Takes the steps of a chunk.

    Args:
      before: states [E] before it.
      trajectory: of the chunk. Of a world that diverged in it the whole stretch
        is left out.
      drives: bool [E], whose steps are recorded.
    """
    lost = find_diverged(before, trajectory.final)
    outcome = np.asarray(trajectory.final.outcome)
    for e in np.flatnonzero(lost):
      self._open[e] = []
    for e in np.flatnonzero(~drives & ~lost):
      self._close(e, before)
    worlds = np.flatnonzero(drives & ~lost)
    if not worlds.size:
      return
    made = executed_states(trajectory, worlds)
    for e, steps in zip(worlds, made, strict=True):
      self._open[e] += steps
      if outcome[e] != Outcome.RUNNING:
        self._close(e, trajectory.final)

  def finish(self, states: Any) -> list[Demo]:
    """Ends the stretches that go on; returns all that were kept.

    Args:
      states: [E] now.
    """
    for e in range(len(self._open)):
      self._close(e, states)
    return self.demos

  def columns(self) -> dict[str, np.ndarray]:
    """Returns what is stored of each frame of `demos` beside them, [F]."""
    return {}

  def _close(self, world: int, states: Any) -> None:
    steps, self._open[world] = self._open[world], []
    if not steps:
      return
    final = jax.tree.map(lambda x: np.asarray(x)[world : world + 1], states)
    if self._is_kept(int(final.outcome[0])):
      self.demos += self._render(steps, final)

  def _is_kept(self, outcome: int) -> bool:
    if self._whole:
      return outcome == Outcome.SUCCESS
    # A person still drives where the time is out; failures are the larger ones.
    return outcome <= Outcome.SUCCESS

  def _render(self, steps: Sequence[Any], final: Any) -> list[Demo]:
    return record.record(
      policy_demos.to_trace([steps], final),
      np.zeros(1, np.int32),
      [self._task.spec.instruction],
      self._task,
      stride=self._stride,
    )
