"""Policies that must not be judged successful, one in each world."""

import jax
import pytest

from rlt_jax.tasks.ethernet.cheats import CHEATS
from rlt_jax.tasks.ethernet.config import EthernetOutcome
from rlt_jax.tasks.insertion import cheats as cheats_lib
from tests.tasks import cheat_runs
from tests.tasks.ethernet.conftest import WORLDS

_FALSE = [cheat for cheat in CHEATS if cheat.most <= 0.15]
_HONEST = [cheat for cheat in CHEATS if cheat.least > 0.0]
# Those that may be lucky or last long.
_OTHERS = [c for c in CHEATS if c not in _FALSE + _HONEST]
_STARTS = 2  # of each cheat


@pytest.fixture(scope='module')
def driver(task, scene, step):
  return cheats_lib.Driver(task, scene, step)


@pytest.fixture(scope='module')
def ends(driver, reset):
  """Cheat name -> its final outcomes, one for each start."""
  starts = [
    reset(jax.random.split(jax.random.PRNGKey(i), WORLDS))
    for i in range(_STARTS)
  ]
  return cheat_runs.outcomes(driver, _FALSE, _HONEST, starts)


def test_every_false_cheat_has_a_world():
  assert len(_FALSE) < WORLDS


@pytest.mark.parametrize('name', [cheat.name for cheat in _FALSE])
def test_a_cheat_is_not_success(name, ends):
  (most,) = (cheat.most for cheat in CHEATS if cheat.name == name)
  wins = ends[name].count(EthernetOutcome.SUCCESS)
  # One lucky start of a blind one is no fault.
  assert wins <= (1 if most else 0)


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
  assert set(ends[honest.name]) == {EthernetOutcome.SUCCESS}


def test_random_targets_are_not(reset, step):
  state = reset(jax.random.split(jax.random.PRNGKey(5), WORLDS))
  for i in range(30):
    targets = cheats_lib.random_targets(jax.random.PRNGKey(i), WORLDS)
    state = step(state, targets)
  assert cheats_lib.success_rate(state) == 0.0
