"""Policies that must not be judged successful, one in each world."""

import pytest

from rlt_jax.tasks.charger.cheats import CHEATS
from rlt_jax.tasks.insertion import cheats as cheats_lib
from rlt_jax.tasks.insertion.config import InsertionOutcome
from tests.tasks import cheat_runs
from tests.tasks.charger.conftest import WORLDS

_FALSE = [
  cheat for cheat in CHEATS if cheat.most <= 0.15 and cheat.steps <= 140
]
_HONEST = [cheat for cheat in CHEATS if cheat.least > 0.0]
# Those that may be lucky or last long.
_OTHERS = [c for c in CHEATS if c not in _FALSE + _HONEST]


@pytest.fixture(scope='module')
def ends(task, scene, step, starts):
  """Cheat name -> its final outcomes."""
  return cheat_runs.outcomes(
    cheats_lib.Driver(task, scene, step), _FALSE, _HONEST, starts
  )


def test_every_false_cheat_has_a_world():
  assert len(_FALSE) < WORLDS


@pytest.mark.parametrize('cheat', _FALSE, ids=lambda cheat: cheat.name)
def test_a_cheat_is_not_success(cheat, ends):
  wins = ends[cheat.name].count(InsertionOutcome.SUCCESS)
  # One lucky start of a blind one is no fault.
  assert wins <= (1 if cheat.most else 0)


@pytest.fixture(scope='module')
def other_ends(task, scene, starts):
  """Cheat name -> its final outcomes in C MuJoCo."""
  return cheat_runs.outcomes_in_c(
    cheats_lib.Driver, task, scene, _OTHERS, *_HONEST, starts
  )


@pytest.mark.parametrize('cheat', _OTHERS, ids=lambda cheat: cheat.name)
def test_another_cheat_has_no_more_success_than_it_may(cheat, other_ends):
  cheat_runs.check_wins(cheat, other_ends[cheat.name])


def test_an_honest_push_is(ends):
  (honest,) = _HONEST
  assert set(ends[honest.name]) == {InsertionOutcome.SUCCESS}
