"""A VLA of several tasks, as one of them sees it."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Observation, Params
from rlt_jax.vlas.known_tasks import KnownTask, Measured
from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput


class TaskView(FrozenVla):
  """A VLA whose state is positions and rates of the joints, for one task.

  Actions are in the task's own unit, and statistics are those of what the task
  measures. Weights and fingerprint are the VLA's.
  """

  def __init__(self, vla: FrozenVla, task: KnownTask, measured: Measured):
    """Takes a VLA, one of the tasks it knows, and what the task measures."""
    own = np.asarray(vla.spec.action_scale, np.float32)
    scale = task.action_scale or vla.spec.action_scale
    self.vla, self.params = vla, vla.params
    self.tasks, self.reads_joints = (task,), vla.reads_joints
    self.spec = dataclasses.replace(
      vla.spec, proprio_dim=len(measured.names), action_scale=tuple(scale)
    )
    self._ratio = own / np.asarray(scale, np.float32)
    self._stats = ProprioStats(
      jnp.asarray(measured.mean, jnp.float32),
      jnp.asarray(measured.std, jnp.float32),
    )

  def apply_with_noise(
    self, params: Params, observation: Observation, noise: Array
  ) -> VlaOutput:
    """Maps observation, `proprio` the joints [B, 2 A]; see `FrozenVla`."""
    out = self.vla.apply_with_noise(params, observation, noise)
    return out._replace(reference=out.reference * self._ratio)

  def tokenize(self, text: str) -> np.ndarray:
    """Returns an instruction of any task of the VLA as int32 [L]."""
    return self.vla.tokenize(text)

  def proprio_stats(self) -> ProprioStats:
    """Returns mean and std of what the task measures, both [P]."""
    return self._stats

  def for_task(self, task: Any) -> FrozenVla:
    """Returns the VLA for another task."""
    return self.vla.for_task(task)
