"""Between a robot's joints and the numbers of a policy, on NumPy arrays.

n counts the entries of the policy, h the steps of its chunk at the rate of its
data; A and H are the robot's joints and steps.
"""

import numpy as np

from rlt_jax.datasets import chunks
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.lerobot.facts import VlaFacts

_SNAP = 1e-6  # steps


class JointTable:
  """Maps poses to states and chunks to targets at the robot's rate."""

  def __init__(self, facts: VlaFacts, steps: int):
    """Takes the facts and h, the steps of the policy's chunk.

    Raises:
      ValueError: a chunk of less than two steps at the robot's rate.
    """
    self._facts, self._steps = facts, steps
    self.rows_per_step = facts.data_hz / facts.control_hz
    self.horizon = 1 + int((steps - 1) / self.rows_per_step + _SNAP)
    if self.horizon < 2:
      raise ValueError(
        f'A chunk must last two control steps: {steps} steps at '
        f'{facts.data_hz:g} Hz are {self.horizon} at {facts.control_hz:g} Hz.'
      )
    names = [row.state for row in facts.joints]
    self._order = np.array([names.index(name) for name in facts.state])
    self._slope, self._shift = np.array([x.line() for x in facts.joints]).T

  def state(self, pose: np.ndarray) -> np.ndarray:
    """Returns states float32 [B, n], as recorded, of poses [B, A]."""
    numbers = (pose - self._shift) / self._slope
    return numbers[:, self._order].astype(np.float32)

  def decode(self, actions: np.ndarray) -> np.ndarray:
    """Returns joint targets float32 [B, H, A], rad and m, at the robot's rate.

    Args:
      actions: [B, h, n] absolute targets, as recorded.
    """
    facts, h = self._facts, self._steps
    commands = []
    for rows in actions:
      targets = mapping_lib.convert(
        rows, facts.action, facts.joints, action=True
      )
      found, _ = chunks.cut(
        targets,
        np.full(h, h),
        np.zeros(1, np.int64),
        steps=self.horizon,
        rows_per_step=self.rows_per_step,
      )
      commands.append(found[0])
    return np.stack(commands).astype(np.float32)

  def noise(self, noise: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Returns the flow's start float32 [B, h, M] for a request's noise.

    Args:
      noise: [B, H, A] in the robot's order; its first min(H, h) steps are used.
      rest: [h, M] what fills the steps and entries without noise of their own.
        M is the policy's padded width.
    """
    names = [row.action_entry for row in self._facts.joints]
    columns = [self._facts.action.index(name) for name in names]
    start = np.tile(rest[None], (len(noise), 1, 1)).astype(np.float32)
    shared = min(noise.shape[1], start.shape[1])
    start[:, :shared, columns] = noise[:, :shared]
    return start
