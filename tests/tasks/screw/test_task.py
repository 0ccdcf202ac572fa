"""Start states, pictures, names and proprioception of the screw task."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.tasks.insertion.config import InsertionOutcome
from rlt_jax.tasks.screw import scene as scene_lib
from rlt_jax.tasks.screw import turning
from rlt_jax.tasks.screw.config import CLEARANCES_MM, ScrewConfig
from rlt_jax.training import config as config_lib


def test_an_episode_starts_above_the_recess_and_turned(task, starts):
  pose = np.asarray(jax.vmap(task.true_pose)(starts))
  lateral, turn = pose[:, :2], np.rad2deg(pose[:, 5])
  height = pose[:, 2] - turning.travel(task.config)
  assert (np.linalg.norm(lateral, axis=1) > 0.001).mean() > 0.8
  assert 8.0 < np.abs(turn).max() < 26.0
  low, high = np.array(task.config.start_height_mm) * 1e-3
  assert low - 1e-3 < height.min() and height.max() < high + 1e-3
  assert (np.asarray(starts.outcome) == InsertionOutcome.RUNNING).all()


def test_the_driver_is_held_ten_centimeters_from_its_tip(scene):
  model = scene.mj_model
  data = mujoco.MjData(model)
  data.qpos[:6] = scene.home[:6]
  mujoco.mj_forward(model, data)
  tips = [data.geom(f'tip_{x}') for x in ('pp', 'pn', 'np', 'nn')]
  middle = np.mean([tip.xpos for tip in tips], axis=0)
  radius = model.geom('tip_pp').size[0]
  fingers = [data.body(f'right_finger_{x}').xpos for x in 'ab']
  apart = np.linalg.norm(np.mean(fingers, axis=0) - middle) + radius
  np.testing.assert_allclose(apart, 0.1, atol=1e-6)
  above = middle - scene.mouth_home - [0, 0, radius]
  np.testing.assert_allclose(above, [0, 0, 0.012], atol=1e-5)


@pytest.mark.parametrize('level', CLEARANCES_MM)
def test_the_recess_is_the_bit_and_twice_the_clearance(level):
  model = scene_lib.load(ScrewConfig(clearance_mm=level)).mj_model
  for kind in ('wall', 'head'):
    for axis, name in enumerate('xy'):
      low, high = model.geom(f'{kind}_{name}n'), model.geom(f'{kind}_{name}p')
      wide = high.pos[axis] - high.size[axis] - low.pos[axis] - low.size[axis]
      bit = 2 * model.geom('bit_hit').size[axis]
      np.testing.assert_allclose((wide - bit) * 1e3, 2 * level, atol=1e-6)


def test_another_level_is_refused():
  with pytest.raises(ValueError, match=r'one of \(0.2, 0.1, 0.05\): 0.3'):
    tasks.load('screw', ScrewConfig(clearance_mm=0.3))


def test_the_name_has_the_tolerance(task):
  assert task.spec.name == 'screw-0.10mm'
  assert ScrewConfig(clearance_mm=0.05).name == 'screw-0.05mm'
  assert task.spec.outcomes[-1] == 'cam_out'
  assert task.spec.proprio_has_joints


def test_the_plate_is_below_the_lowest_bit(scene, task):
  plate = scene.mj_model.geom('plate')
  top = plate.pos[2] + plate.size[2]
  lowest = scene.mouth_home[2] - task.config.socket_lift_mm * 1e-3
  lowest -= scene.depth + turning.travel(task.config)
  assert top < lowest - 1e-3


def test_practice_has_the_settings_of_a_task_unless_they_are_set():
  make = config_lib.make_config
  assert make(task='screw').agent.hidden_dims == (512, 512, 512)
  own = make(['agent.hidden_dims=64'], task='screw')
  assert own.agent.hidden_dims == (64,)
  assert make(task='charger').agent.hidden_dims == (256, 256)
  assert make(task='zip_tie').agent.beta == 0.01
  # Another agent is not compared with smaller ones. One that has no such
  # setting is left alone.
  other = make(task='screw', agent='hil_serl')
  assert other.agent.hidden_dims == (512, 512, 512)
  assert make(task='screw', agent='tests.agents.toy_agent:make')


def test_cameras_see_the_head_where_the_bit_touches_it(task):
  bench = task.make_bench()
  rest = jax.tree.map(lambda x: np.asarray(x)[0], bench.world())
  moved = {
    'socket_pos': np.float32([0.003, -0.002, 0.031]),
    'socket_rot': np.float32([0.03, -0.02, 0.2]),
    'grasp_rot': np.float32([0.02, -0.03, 0.01]),
  }
  state = rest.replace(**moved)
  bench.place(state)
  seen = task.render.poses(jax.tree.map(lambda x: jnp.asarray(x)[None], state))
  model, data = bench.model, bench.data
  for side in ('xp', 'xn', 'yp', 'yn'):
    head = seen.geom_pos[0, model.geom(f'head_{side}').id]
    np.testing.assert_allclose(head, data.geom(f'wall_{side}').xpos, atol=1e-6)
  bit = seen.geom_pos[0, model.geom('bit_view').id]
  axis = data.body('plug').xmat.reshape(3, 3)[:, 2]
  off = np.cross(bit - data.geom('bit_hit').xpos, axis)
  np.testing.assert_allclose(off, 0.0, atol=1e-6)


def test_bit_and_head_turn_by_the_turns_of_the_screw(task, scene):
  rest = jax.tree.map(np.asarray, task.make_bench().world())
  model = scene.mj_model
  driven = rest.driven._replace(steps=np.array([5], np.int32))  # 90 degrees
  before, after = (
    task.render.poses(jax.tree.map(jnp.asarray, x))
    for x in (rest, rest.replace(driven=driven))
  )
  for name in ('head_xp', 'bit_view'):
    one, two = (
      np.asarray(x.geom_mat[0, model.geom(name).id]).reshape(3, 3)
      for x in (before, after)
    )
    clockwise = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(one.T @ two, clockwise, atol=1e-5)
  still = model.geom('plate').id
  np.testing.assert_array_equal(
    before.geom_pos[0, still], after.geom_pos[0, still]
  )
