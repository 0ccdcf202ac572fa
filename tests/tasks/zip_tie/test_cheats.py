"""Policies that must not be judged successful, one in each world."""

import pytest

from rlt_jax.tasks.zip_tie.cheats import CHEATS, Driver
from rlt_jax.tasks.zip_tie.config import ZipTieOutcome
from tests.tasks import cheat_runs
from tests.tasks.zip_tie.conftest import WORLDS

_FALSE = [c for c in CHEATS if c.most <= 0.15 and c.steps <= 140]
_HONEST = [c for c in CHEATS if c.least > 0.0]
# Those that may be lucky or last long; an aligned ram may always succeed.
_OTHERS = [c for c in CHEATS if c not in _FALSE + _HONEST and c.most < 1.0]


@pytest.fixture(scope='module')
def ends(task, scene, step, starts):
  """Cheat name -> its final outcomes."""
  return cheat_runs.outcomes(Driver(task, scene, step), _FALSE, _HONEST, starts)


def test_every_false_cheat_has_a_world():
  assert len(_FALSE) < WORLDS


@pytest.mark.parametrize('cheat', _FALSE, ids=lambda cheat: cheat.name)
def test_a_cheat_is_not_success(cheat, ends):
  wins = ends[cheat.name].count(ZipTieOutcome.SUCCESS)
  # One lucky start of a blind one is no fault.
  assert wins <= (1 if cheat.most else 0)


@pytest.fixture(scope='module')
def other_ends(task, scene, starts):
  """Cheat name -> its final outcomes in C MuJoCo."""
  return cheat_runs.outcomes_in_c(
    Driver, task, scene, _OTHERS, *_HONEST, starts
  )


@pytest.mark.parametrize('cheat', _OTHERS, ids=lambda cheat: cheat.name)
def test_another_cheat_has_no_more_success_than_it_may(cheat, other_ends):
  cheat_runs.check_wins(cheat, other_ends[cheat.name])


def test_an_honest_push_is(ends):
  (honest,) = _HONEST
  assert set(ends[honest.name]) == {ZipTieOutcome.SUCCESS}
