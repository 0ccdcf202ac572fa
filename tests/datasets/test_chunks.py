import numpy as np
import pytest

from rlt_jax.datasets import chunks
from rlt_jax.sim import action_space

_FLAGS = np.array([False] * 4 + [True] * 3 + [False])


def test_runs_end_where_a_person_takes_over():
  assert chunks.find_runs(_FLAGS).tolist() == [4] * 4 + [7] * 3 + [8]


def test_chunks_at_the_rate_of_the_rows_are_the_rows():
  commands = np.arange(16, dtype=np.float32).reshape(8, 2)
  ends = chunks.find_runs(_FLAGS)
  found, valid = chunks.cut(
    commands, ends, np.array([0, 2, 6]), steps=3, rows_per_step=1.0
  )
  expected = [[0, 1, 2], [2, 3, 3], [6, 6, 6]]
  np.testing.assert_array_equal(found, commands[np.array(expected)])
  assert valid.tolist() == [
    [True, True, True],
    [True, True, False],
    [True, False, False],
  ]


def test_other_rates_are_interpolated_and_do_not_cross_runs():
  commands = np.arange(8, dtype=np.float32)[:, None] ** 2
  ends = chunks.find_runs(_FLAGS)
  found, valid = chunks.cut(
    commands, ends, np.array([1, 4]), steps=5, rows_per_step=30.0 / 50.0
  )
  # Rows 1, 1.6, 2.2, 2.8, and 3.4, which is past the last row of the run.
  np.testing.assert_allclose(found[0, :, 0], [1, 2.8, 5, 8, 9], rtol=1e-6)
  assert valid.tolist() == [[True] * 4 + [False], [True] * 4 + [False]]
  coarse, whole = chunks.cut(
    commands, ends, np.array([0]), steps=2, rows_per_step=3.0
  )
  np.testing.assert_array_equal(coarse[0, :, 0], [0.0, 9.0])
  assert whole.all()


def test_steps_at_whole_rows_are_exact_after_many():
  commands = np.random.default_rng(0).normal(size=(601, 1)).astype(np.float32)
  ends = chunks.find_runs(np.zeros(601, bool))
  found, valid = chunks.cut(
    commands, ends, np.array([0]), steps=1001, rows_per_step=30.0 / 50.0
  )
  np.testing.assert_array_equal(found[0, ::5, 0], commands[::3, 0])
  assert valid.all()


def test_velocities_are_differences_within_runs():
  positions = np.array([0, 1, 3, 6, 50, 52, 56, 9], np.float32)[:, None]
  found = chunks.differences(positions, chunks.find_runs(_FLAGS), fps=10.0)
  expected = [10, 10, 20, 30, 20, 20, 40, 0]
  np.testing.assert_allclose(found[:, 0], expected)


@pytest.mark.parametrize('mode', chunks.MODES)
def test_the_unit_is_that_of_the_simulator(mode):
  rng = np.random.default_rng(0)
  pose = rng.normal(size=(50, 7)).astype(np.float32)
  commands = pose[:, None] + 0.1 * rng.normal(size=(50, 10, 7)).astype(
    np.float32
  )
  commands[..., 0] = pose[:, None, 0]  # rests
  commands[..., 6] = pose[:, None, 6]
  expected = action_space.fit(commands, pose, mode=mode)
  unit = chunks.UnitFit(['rad'] * 6 + ['m'], mode)
  unit.add(commands[:20], pose[:20])
  unit.add(commands[20:], pose[20:])
  np.testing.assert_allclose(unit.scale(), expected.scale, rtol=1e-6)
  assert unit.scale()[0] == np.float32(1e-3)
  steps = chunks.to_steps(commands, pose, mode) / expected.scale
  np.testing.assert_allclose(
    steps, expected.encode(commands, pose), rtol=1e-4, atol=1e-4
  )


def test_a_unit_needs_a_chunk_and_a_known_mode():
  with pytest.raises(ValueError, match='needs a chunk of 10 control steps'):
    chunks.UnitFit(['rad'], 'offset').scale()
  with pytest.raises(ValueError, match="action_mode must be one of .*'delta'"):
    chunks.UnitFit(['rad'], 'delta')
