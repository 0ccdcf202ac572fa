"""Pushes with known outcomes, in MJX and in C MuJoCo."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.tasks.charger import task as task_lib
from rlt_jax.tasks.charger.pushes import PUSHES
from rlt_jax.tasks.insertion import pushes as pushes_lib

# mm: how far two runs of a push may end apart. A wedged plug keeps whatever
# depth friction gave it on the way, so it remembers every rounding.
_AGREE = {'seated': 0.1, 'face': 0.3, 'wedged': 0.5}
_BLOW = 'face at the limit'


@pytest.fixture(scope='module')
def runs(task, scene, starts, step):
  """Runs in MJX, in C MuJoCo and in C MuJoCo with a converged solver."""
  solve = pushes_lib.make_solve(task, scene)
  state, commands = pushes_lib.line_up(PUSHES, starts, scene, solve)
  converged = task_lib.make(
    dataclasses.replace(task.config, solver_iterations=100)
  )
  return {
    'mjx': pushes_lib.run_mjx(task, scene, state, commands, step),
    'c': pushes_lib.run_c(task, state, commands),
    'converged': pushes_lib.run_c(converged, state, commands),
  }


@pytest.fixture(params=range(len(PUSHES)), ids=[p.name for p in PUSHES])
def row(request):
  return request.param


def test_every_push_ends_where_the_geometry_says(runs, row):
  ends = PUSHES[row].ends
  for name, run in runs.items():
    depth = run.depth[-1, row] * 1e3
    assert run.success[row] == (ends == 'seated'), f'{name}: {depth:.2f} mm'
    if ends == 'face':
      assert abs(depth) < 0.5, f'{name}: {depth:.2f} mm'
    if ends == 'wedged':
      assert 2.0 < depth < 13.0, f'{name}: {depth:.2f} mm'


@pytest.mark.parametrize('other', ['mjx', 'converged'])
def test_all_physics_end_at_the_same_depth(runs, row, other):
  apart = abs(runs[other].depth[-1, row] - runs['c'].depth[-1, row]) * 1e3
  assert apart <= _AGREE[PUSHES[row].ends], f'{apart:.3f} mm'


def test_nothing_goes_through_the_face_or_the_floor(runs, row, scene):
  stop = 0.0 if PUSHES[row].ends == 'face' else scene.depth
  for name, run in runs.items():
    deepest = run.depth[:, row].max()
    assert deepest <= stop + 1e-3, f'{name}: {deepest * 1e3:.2f} mm'


def test_a_calm_push_stays_below_the_force_limit(runs, task):
  limit = task.config.force_limit
  for row, push in enumerate(PUSHES):
    if push.name != _BLOW:
      for name, run in runs.items():
        assert run.force[row] < limit, f'{name}, {push.name}: {run.force[row]}'
  # Eight iterations leave no force that a converged solver does not have.
  seated = np.array([push.ends == 'seated' for push in PUSHES])
  np.testing.assert_allclose(
    runs['c'].force[seated], runs['converged'].force[seated], atol=3.0
  )
