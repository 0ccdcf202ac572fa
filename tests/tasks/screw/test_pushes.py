"""Pushes with known outcomes, in MJX and in C MuJoCo."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.tasks.insertion import pushes as pushes_lib
from rlt_jax.tasks.screw import task as task_lib
from rlt_jax.tasks.screw.pushes import PUSHES
from tests.tasks.screw.conftest import WORLDS

# mm: how far two runs of a push may end apart. A wedged bit keeps whatever
# depth friction gave it on the way.
_AGREE = {'wedged': 0.5}
_TURNS_APART = 3  # control steps of the motor
_BLOW = 'face at the limit'


@pytest.fixture(scope='module')
def runs(task, scene, starts, step):
  """Runs in MJX, in C MuJoCo and in C MuJoCo with a converged solver."""
  table = (PUSHES + PUSHES[:1] * WORLDS)[:WORLDS]
  solve = pushes_lib.make_solve(task, scene)
  state, commands = pushes_lib.line_up(table, starts, scene, solve)
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


def test_every_push_has_a_world():
  assert len(PUSHES) <= WORLDS


def test_every_push_ends_where_geometry_and_motor_say(runs, row, task):
  ends, all_steps = PUSHES[row].ends, task.config.seated_steps
  for name, run in runs.items():
    depth, turned = run.depth[-1, row] * 1e3, int(run.driven.steps[row])
    said = f'{name}: {depth:.2f} mm, {turned} steps'
    assert run.success[row] == (ends == 'seated'), said
    if ends == 'stalled':
      assert 0 < turned < all_steps, said
      assert run.driven.cam_outs[row] == 1, said
    else:
      assert turned == (all_steps if ends == 'seated' else 0), said
    if ends == 'face':
      assert abs(depth) < 0.5, said
    if ends == 'wedged':
      assert 0.5 < depth < 2.3, said
    if ends == 'plate':
      assert depth > 6.0, said


@pytest.mark.parametrize('other', ['mjx', 'converged'])
def test_all_physics_end_alike(runs, row, other):
  one, two = runs[other], runs['c']
  apart = abs(one.depth[-1, row] - two.depth[-1, row]) * 1e3
  assert apart <= _AGREE.get(PUSHES[row].ends, 0.15), f'{apart:.3f} mm'
  turned = abs(int(one.driven.steps[row]) - int(two.driven.steps[row]))
  assert turned <= _TURNS_APART


def test_nothing_goes_through_the_face_or_the_floor(runs, row, scene):
  ends = PUSHES[row].ends
  if ends != 'plate':
    stop = 0.0 if ends == 'face' else scene.depth
    for name, run in runs.items():
      deepest = run.depth[:, row].max()
      assert deepest <= stop + 0.8e-3, f'{name}: {deepest * 1e3:.2f} mm'


def test_a_calm_push_stays_below_the_force_limit(runs, task):
  limit = task.config.force_limit
  for row, push in enumerate(PUSHES):
    if push.name != _BLOW:
      for name, run in runs.items():
        assert run.force[row] < limit, f'{name}, {push.name}: {run.force[row]}'
  seated = [row for row, push in enumerate(PUSHES) if push.ends == 'seated']
  np.testing.assert_allclose(
    runs['c'].force[seated], runs['converged'].force[seated], atol=3.0
  )
