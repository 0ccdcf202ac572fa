from typing import NamedTuple

import numpy as np
import pytest

from rlt_jax.evaluation import physics_study
from rlt_jax.reporting import statistics
from rlt_jax.tasks.ethernet.config import EthernetConfig, OUTCOMES
from tests.giving_up import given_up

_HEAD = {'episodes': 4, 'seed': 1, 'policy': 'of run a'}


class FakeEvaluator:
  """Two successes, a time-out and an end at the force limit."""

  def trace(self, policy, episodes, film):
    assert episodes == film == 4
    kept = [[State(0.0, 0.0), State(force, 1.0)] for force in (5, 15, 30, 7)]
    final = State(
      np.array([0.0, 0.0, 0.0, 500.0]),  # the last step counts too
      np.zeros(4),
      np.array([1, 1, 0, 2]),
      np.array([40, 60, 500, 9]),
    )
    return final, kept


class State(NamedTuple):
  force: np.ndarray
  overlap: np.ndarray
  outcome: np.ndarray = np.zeros(())
  steps: np.ndarray = np.zeros(())


class FakeBench:
  """Overlaps by 0.1 mm where something touches."""

  def place(self, state):
    assert state.force > 0, 'a free state was measured'
    self._state = state

  def overlap(self):
    return 1e-4 * self._state.overlap


def _run(table, built):
  def build(world, engine):
    built.append((world.text, engine.text))
    return FakeEvaluator(), FakeBench()

  physics_study.run(
    build,
    {'a': None, 'b': None},
    [physics_study.parse_world(x) for x in ('nominal', 'clearance_mm=0.1')],
    [physics_study.parse_engine('mjx')],
    4,
    table,
    'abc1234',
  )


def test_a_study_goes_on_where_it_was_stopped(tmp_path):
  path, built = tmp_path / 'x.json', []
  _run(physics_study.Table(path, _HEAD), built)
  whole = physics_study.Table(path, _HEAD)
  assert len(whole.rows) == 4 and len(built) == 2
  assert {row.commit for row in whole.rows} == {'abc1234'}
  _run(whole, built)
  assert len(built) == 2, 'nothing was missing'
  whole.rows.pop()
  _run(whole, built)
  assert built[2:] == [('clearance_mm=0.1', 'mjx')]
  assert len(physics_study.Table(path, _HEAD).rows) == 4
  with pytest.raises(ValueError, match='only with its own seed, 1: 2'):
    physics_study.Table(path, _HEAD | {'seed': 2})
  with pytest.raises(ValueError, match='only with its own policy, of run a'):
    physics_study.Table(path, _HEAD | {'policy': 'of run b'})


def test_a_row_says_success_forces_and_overlap(tmp_path):
  table = physics_study.Table(tmp_path / 'x.json', _HEAD)
  _run(table, [])
  lines = table.markdown(OUTCOMES).splitlines()
  assert lines[0] == '### nominal'
  cells = [x.strip() for x in lines[4].strip('|').split('|')]
  assert cells == [
    'a', 'mjx', '0.50 (0.15–0.85)', '50', '1 time_out, 1 force_limit',
    '1 / 1 / 1 / 0 / 0 / 1', '500', '0.10',
  ]  # fmt: skip
  assert lines[2].count('|') == lines[4].count('|')


def test_changes_of_an_engine_and_a_world_apply_together():
  engine = physics_study.parse_engine('mujoco timestep=0.001 substeps=20')
  world = physics_study.parse_world('friction=0.05,0.1')
  config = physics_study.changed(EthernetConfig(), world, engine)
  assert engine.engine == 'mujoco'
  assert (config.timestep, config.substeps) == (0.001, 20)
  assert config.friction == (0.05, 0.1)
  assert physics_study.parse_world('nominal').changes == ()
  with pytest.raises(ValueError, match="must begin with one of .* 'bullet'"):
    physics_study.parse_engine('bullet')


def test_a_policy_without_success_has_no_median():
  columns = statistics.to_plain(statistics.make_episodes([0, 0], [5, 5]))
  row = physics_study.Row('w', 'mjx', 'p', columns)
  assert '| – |' in physics_study.describe(row, OUTCOMES)
  assert np.isinf(physics_study.FORCE_EDGES[-1])


@pytest.mark.parametrize('what', ['build', 'measure'])
def test_a_cell_is_given_up_at_a_signal(tmp_path, monkeypatch, what):
  path, built = tmp_path / 'x.json', []
  with given_up() as compiling:
    monkeypatch.setattr(physics_study, 'measure', compiling)
    if what == 'measure':
      _run(physics_study.Table(path, _HEAD), built)
    world = physics_study.parse_world('nominal')
    physics_study.run(
      compiling, {'a': None}, [world], [physics_study.parse_engine('mjx')], 4,
      physics_study.Table(path, _HEAD),
    )  # fmt: skip
  assert len(built) == (what == 'measure')
  assert not physics_study.Table(path, _HEAD).rows
