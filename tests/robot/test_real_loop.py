"""The real loop in a terminal, on a fake arm; `make arm-faults` does more."""

import random

import pytest

from tests.arm_faults import (
  cases,
  cell,
  labels,
  outages,
  pedal,
  random_operator,
)
from tests.arm_faults.cases import Context


@pytest.mark.parametrize(
  'case, count',
  [
    (labels.run, 4),
    (pedal.run, 1),
    (cases.kill_loop, 1),
    (cases.hang_up, 2),
    (cell.kill_watchdog, 1),
    (cell.kill_cell, 1),
    (outages.hung_camera, 1),
    (random_operator.run, 40),
  ],
)
def test_nothing_is_lost(tmp_path, case, count):
  tally = case(Context(tmp_path, random.Random(1), count))
  assert tally.tried >= count and tally.survived == tally.tried, tally.notes
