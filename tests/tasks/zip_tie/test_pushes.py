"""Pushes with known outcomes, in MJX and in C MuJoCo."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.tasks.zip_tie import push_runs
from rlt_jax.tasks.zip_tie import task as task_lib
from rlt_jax.tasks.zip_tie.config import ZipTieOutcome
from rlt_jax.tasks.zip_tie.pushes import PUSHES

_OUTCOMES = {
  'tight': {ZipTieOutcome.SUCCESS},
  'buckled': {ZipTieOutcome.BUCKLED},
  'force_limit': {ZipTieOutcome.FORCE_LIMIT},
  'lost': {ZipTieOutcome.BUCKLED, ZipTieOutcome.FORCE_LIMIT},
  'running': {ZipTieOutcome.RUNNING},
}


@pytest.fixture(scope='module')
def runs(task, scene, starts, step, solve):
  """Runs in MJX, in C MuJoCo and in C MuJoCo with a converged solver."""
  state, commands = push_runs.line_up(PUSHES, starts, scene, solve)
  converged = task_lib.make(
    dataclasses.replace(task.config, solver_iterations=100)
  )
  return {
    'mjx': push_runs.run_mjx(task, scene, state, commands, step),
    'c': push_runs.run_c(task, state, commands),
    'converged': push_runs.run_c(converged, state, commands),
  }


@pytest.fixture(params=range(len(PUSHES)), ids=[p.name for p in PUSHES])
def row(request):
  return request.param


def test_every_push_ends_as_the_geometry_says(runs, row):
  for name, run in runs.items():
    depth, bend = run.depth[-1, row] * 1e3, np.rad2deg(run.bend[:, row].max())
    seen = f'{name}: {depth:.2f} mm, {bend:.1f} degrees, {run.force[row]:.1f} N'
    assert run.outcome[row] in _OUTCOMES[PUSHES[row].ends], seen


@pytest.mark.parametrize('other', ['mjx', 'converged'])
def test_all_physics_end_at_the_same_depth(runs, row, other):
  apart = abs(runs[other].depth[-1, row] - runs['c'].depth[-1, row]) * 1e3
  # One control step of a push, 0.3 mm; the fast ones' steps are 2.4 mm.
  step = max(0.4, PUSHES[row].speed * 0.025)
  assert apart <= min(step, 3.0), f'{apart:.3f} mm'


def test_nothing_goes_through_the_face(runs):
  for name, run in runs.items():
    for row, push in enumerate(PUSHES):
      if push.ends == 'buckled' and push.offset != (0.0, 0.0):
        deepest = run.depth[:, row].max() * 1e3
        assert deepest < 0.5, f'{name}, {push.name}: {deepest:.2f} mm'


def test_a_strap_that_goes_in_stays_far_below_the_limits(runs, task):
  tight = np.array([push.ends == 'tight' for push in PUSHES])
  for run in runs.values():
    assert run.force[tight].max() < 0.6 * task.config.force_limit
    assert np.rad2deg(run.bend[:, tight].max()) < 8.0
  # Eight iterations leave no force that a converged solver does not have.
  np.testing.assert_allclose(
    runs['c'].force[tight], runs['converged'].force[tight], atol=0.5
  )
