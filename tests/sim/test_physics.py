"""Pushes with known outcomes, in MJX and in C MuJoCo."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest

from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.pushes import PUSHES
from rlt_jax.tasks.insertion import pushes as pushes_lib

_SLIPPERY = 0.1  # friction
_CHAMFER = 0.0008  # m, radius of the nose's and the rim's spheres

# mm: how far MJX and C may end apart. A wedged plug keeps whatever depth
# friction gave it on the way, so it remembers every rounding.
AGREE = {'seated': 0.1, 'face': 0.3, 'wedged': 0.5}


class _Runs(NamedTuple):
  """mjx, c: [T, 20] depth, m. lateral: [T, 20, 2] m, in MJX.

  in_c: friction, or None for that of the pushes, and solver iterations -> runs
  in C MuJoCo.
  """

  mjx: np.ndarray
  c: np.ndarray
  lateral: np.ndarray
  in_c: dict[tuple[float | None, int], pushes_lib.Runs]


@pytest.fixture(scope='module')
def runs(task, scene, starts, solve, step):
  state, commands = pushes_lib.line_up(PUSHES, starts, scene, solve)
  mjx = pushes_lib.run_mjx(task, scene, state, commands, step)
  in_c = {}
  for friction, iterations in (
    (None, 8), (None, 100), (_SLIPPERY, 4), (_SLIPPERY, 8), (_SLIPPERY, 100)
  ):  # fmt: skip
    config = dataclasses.replace(task.config, solver_iterations=iterations)
    begin = state
    if friction is not None:
      begin = state.replace(friction=np.full_like(state.friction, friction))
    in_c[friction, iterations] = pushes_lib.run_c(
      task_lib.make(config), begin, commands
    )
  c = in_c[None, task.config.solver_iterations]
  return _Runs(mjx.depth, c.depth, mjx.lateral, in_c)


@pytest.fixture(params=range(len(PUSHES)), ids=[p.name for p in PUSHES])
def row(request):
  return request.param


def test_every_push_ends_where_the_geometry_says(runs, row, task):
  ends = PUSHES[row].ends
  seated = task.config.seated_mm * 1e-3
  for depth in (runs.mjx[-1, row], runs.c[-1, row]):
    assert (depth >= seated) == (ends == 'seated'), f'{depth * 1e3:.2f} mm'
    if ends == 'face':
      assert abs(depth) < 5e-4, f'{depth * 1e3:.2f} mm'


def test_mjx_and_c_end_at_the_same_depth(runs, row):
  apart = abs(runs.mjx[-1, row] - runs.c[-1, row]) * 1e3
  assert apart <= AGREE[PUSHES[row].ends], f'{apart:.3f} mm'


@pytest.mark.parametrize('friction', [None, _SLIPPERY])
def test_eight_iterations_are_converged(runs, friction):
  eight, converged = (runs.in_c[friction, n] for n in (8, 100))
  # All the way, not at the end alone.
  np.testing.assert_allclose(eight.depth, converged.depth, atol=1e-6)
  np.testing.assert_allclose(eight.force, converged.force, atol=0.01)
  np.testing.assert_array_equal(eight.success, converged.success)


def test_four_iterations_are_not(runs, task):
  four, converged = (runs.in_c[_SLIPPERY, n].force for n in (4, 100))
  limit = task.config.force_limit
  blow = [push.name for push in PUSHES].index('face at the limit')
  assert (np.delete(converged, blow) < limit).all()
  assert (np.delete(four, blow) > limit).any()


def test_nothing_goes_through_the_face_or_the_floor(runs, row):
  # A blow at the limit sinks in by 0.7 mm.
  stop = 0.0 if PUSHES[row].ends == 'face' else scene_lib.SOCKET_DEPTH
  for depth in (runs.mjx[:, row], runs.c[:, row]):
    assert depth.max() <= stop + 1e-3, f'{depth.max() * 1e3:.2f} mm'


def test_a_plug_inside_stays_between_the_walls(runs, row, scene):
  inside = runs.mjx[:, row] > 0.002
  lateral = np.abs(runs.lateral[inside, row])
  # A tilted tip's middle leans out by as much as its far corner dips.
  assert inside.any() == (PUSHES[row].ends != 'face')
  assert (lateral <= scene.clearance + 3e-4).all(), f'{lateral.max()} m'


def test_a_tilted_plug_wedges_where_it_touches_both_sides(runs, scene):
  row = [push.name for push in PUSHES].index('tilt x 8')
  # Both edges that touch are rounded: the nose's and the mouth's.
  depth = 2 * scene.clearance / np.tan(np.deg2rad(8.0)) + 2 * _CHAMFER
  np.testing.assert_allclose(runs.c[-1, row], depth, atol=5e-4)
  np.testing.assert_allclose(runs.mjx[-1, row], depth, atol=5e-4)
