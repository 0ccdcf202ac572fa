"""An opening that is tighter in some episodes, on every task."""

import copy
import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks import bench_opening
from rlt_jax.tasks.charger import scene as charger
from rlt_jax.tasks.ethernet import scene as ethernet
from rlt_jax.tasks.screw import scene as screw
from rlt_jax.tasks.zip_tie import scene as zip_tie

# Task -> its scene, and two levels, mm per side.
_TASKS = {
  'ethernet': (ethernet, 0.3, 0.1),
  'charger': (charger, 0.5, 0.2),
  'screw': (screw, 0.1, 0.05),
  'zip_tie': (zip_tie, 0.2, 0.1),
}


def _config(name, **changes):
  return dataclasses.replace(tasks.config_class(name)(), **changes)


@pytest.fixture(scope='module', params=_TASKS)
def levels(request):
  """(name, scene at the wider level, model of the tighter one, their gap)."""
  module, wide, tight = _TASKS[request.param]
  scenes = [
    module.load(_config(request.param, clearance_mm=mm)) for mm in (wide, tight)
  ]
  return request.param, scenes[0], scenes[1].mj_model, (wide - tight) * 1e-3


def test_a_tighter_opening_is_that_of_the_level(levels):
  _, scene, tight, gap = levels
  model = bench_opening.set_model(
    scene.world.mjx_model, scene.opening, np.float32(gap)
  )
  assert np.abs(scene.mj_model.geom_pos - tight.geom_pos).max() > 0.9 * gap
  for name in ('geom_pos', 'geom_size'):
    wanted = getattr(tight, name)
    np.testing.assert_allclose(getattr(model, name), wanted, atol=1e-7)
  bench = copy.copy(scene.mj_model)
  bench_opening.set_mujoco(bench, scene.mj_model, scene.opening, gap)
  np.testing.assert_allclose(bench.geom_pos, tight.geom_pos, atol=1e-9)
  np.testing.assert_allclose(bench.geom_size, tight.geom_size, atol=1e-9)
  bench_opening.set_mujoco(bench, scene.mj_model, scene.opening, None)
  np.testing.assert_array_equal(bench.geom_pos, scene.mj_model.geom_pos)


def test_episodes_are_tighter_by_up_to_the_setting():
  config = _config('ethernet', tighter_mm=0.2)
  task = tasks.load('ethernet', config)
  state = jit(jax.vmap(task.reset))(jax.random.split(jax.random.key(3), 40))
  tighter = np.asarray(state.tighter)
  assert 0.0 <= tighter.min() < 2e-5 and 1.8e-4 < tighter.max() <= 2e-4
  bench, row = (
    task.make_bench(),
    jax.tree.map(lambda x: np.asarray(x[7]), state),
  )
  bench.place(row)
  model = bench_opening.set_model(
    task.make_bench().model, ethernet.load(config).opening, None
  )
  moved = np.abs(bench.model.geom_pos - model.geom_pos).max()
  np.testing.assert_allclose(moved, row.tighter, rtol=1e-5)
  np.testing.assert_array_equal(bench.world().tighter[0], row.tighter)


@pytest.mark.parametrize('name', _TASKS)
def test_no_episode_is_tighter_than_the_tightest_level(name):
  with pytest.raises(ValueError, match=r'tighter_mm must be in \[0, .*: 0.6'):
    tasks.load_spec(name, _config(name, tighter_mm=0.6))
  with pytest.raises(ValueError, match='tighter_mm must be in'):
    tasks.load_spec(name, _config(name, tighter_mm=-0.01))
