"""A bench whose task has states of another kind than the shipped ones."""

from typing import NamedTuple

import numpy as np

from rlt_jax.evaluation import bench_rollout
from rlt_jax.tasks.task import Outcome


class _State(NamedTuple):
  command: np.ndarray
  steps: np.ndarray
  outcome: np.ndarray
  reward: np.ndarray


class _Bench:
  """Succeeds at the second control step, of two physics steps each."""

  def place(self, state):
    self._count = 0

  def set_targets(self, joints):
    self._targets = joints

  def step(self):
    self._count += 1

  def world(self):
    won = self._count == 4
    outcome = Outcome.SUCCESS if won else Outcome.RUNNING
    return _State(
      self._targets[None],
      np.array([self._count // 2]),
      np.array([int(outcome)]),
      np.array([float(won)]),
    )


def test_a_state_that_is_a_named_tuple_ends_without_more_reward():
  start = _State(
    np.zeros(3), np.array(0), np.array(int(Outcome.RUNNING)), np.array(0.0)
  )
  states = bench_rollout._run(_Bench(), start, np.ones((4, 3)), substeps=2)
  assert [int(x.steps) for x in states] == [0, 1, 2, 2, 2]
  assert [float(x.reward) for x in states] == [0.0, 0.0, 1.0, 0.0, 0.0]
  assert [int(x.outcome) for x in states[2:]] == [Outcome.SUCCESS] * 3
