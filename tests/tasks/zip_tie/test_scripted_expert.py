"""The teleoperator of the zip tie, under C MuJoCo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.tasks.zip_tie.config import ZipTieOutcome


@pytest.fixture(scope='module')
def expert(task):
  """The compiled functions of the operator."""
  expert = task.make_expert(None)
  return task.compile(expert.begin), task.compile(expert.act)


def _episode(task, expert, start, instruction, most):
  """Returns the bench at the end, commands [T, A] and tips [T, 3]."""
  begin, act = expert
  rig, key, state = task.make_bench(), jax.random.PRNGKey(5), start
  rig.place(jax.tree.map(np.asarray, start))
  memory, commands, tips = begin(key, start, jnp.int32(instruction)), [], []
  while rig.outcome() == ZipTieOutcome.RUNNING and len(commands) < most:
    memory, command = act(jax.random.fold_in(key, len(commands)), memory, state)
    commands.append(rig.set_targets(np.float64(command)))
    for _ in range(task.config.substeps):
      rig.step()
    tips.append(rig.strap_in_head().tip)
    state = jax.tree.map(lambda x: x[0], rig.world())
  return rig, np.stack(commands), np.stack(tips)


@pytest.fixture(scope='module')
def start(starts):
  return jax.tree.map(lambda x: x[0], starts)


def test_it_fastens_with_both_hands_in_the_time_of_a_person(
  task, expert, start
):
  rig, commands, tips = _episode(task, expert, start, 0, 500)
  assert rig.outcome() == ZipTieOutcome.SUCCESS
  assert 120 < len(commands) < 420
  moved = np.ptp(commands, axis=0)
  right, left = moved[:6], moved[7:13]
  assert right.max() > 0.03 and left.max() > 0.03
  np.testing.assert_array_equal(commands[:, [6, 13]], 0.0)
  # It waits before it moves, and stops with the strap through the slot.
  assert np.linalg.norm(tips[5] - tips[0]) < 1e-3
  assert rig.force() < 0.5 * task.config.force_limit


def test_the_other_instruction_parts_the_hands(task, expert, start):
  rig, _, tips = _episode(task, expert, start, 1, 150)
  assert rig.outcome() == ZipTieOutcome.RUNNING
  assert tips[-1, 2] > 0.03 and tips[-1, 2] > tips[0, 2]
