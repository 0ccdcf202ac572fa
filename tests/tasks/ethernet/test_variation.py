"""Gains, cameras and sensors that differ between episodes."""

import dataclasses

import chex
import jax
import mujoco
import numpy as np
import pytest

from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.training import config as config_lib

_WORLDS = 20
_SETTINGS = (
  'task.gain=0.8,1.2',
  'task.camera_shift_mm=2',
  'task.camera_turn_deg=1',
  'task.joint_noise_mrad=2',
  'task.joint_rate_noise_mrad=50',
)  # as after --set=


@pytest.fixture(scope='module')
def varied():
  return task_lib.make(config_lib.make_config(_SETTINGS).task)


@pytest.fixture(scope='module')
def keys():
  return jax.random.split(jax.random.PRNGKey(11), _WORLDS)


@pytest.fixture(scope='module')
def state(varied, keys):
  return jit(jax.vmap(varied.reset))(keys)


def test_nominal_settings_draw_nothing(reset, keys, state):
  nominal = reset(keys)
  assert nominal.variation is None
  # Compiled as two programs, they differ in the last bit.
  chex.assert_trees_all_close(nominal, state.replace(variation=None), atol=1e-7)


def test_draws_fill_their_ranges(state):
  drawn = state.variation
  low, high = np.min(drawn.gain), np.max(drawn.gain)
  assert 0.8 <= low < 0.82 and 1.18 < high <= 1.2
  assert 1.8e-3 < np.abs(drawn.camera_pos).max() <= 2e-3
  turn = np.deg2rad(1.0)
  assert 0.9 * turn < np.abs(drawn.camera_rot).max() <= turn
  assert len(np.unique(drawn.noise_key, axis=0)) == _WORLDS


def test_gains_are_those_of_the_physics(varied, state, step, starts):
  """MJX and C MuJoCo move alike, and a softer joint lags further behind."""
  command = np.array(state.command)
  command[:, :6] += 0.02
  soft = state.replace(
    variation=state.variation.replace(
      gain=np.full((_WORLDS, 14), 0.5, np.float32)
    )
  )
  move = jit(jax.vmap(varied.step))
  moved = move(soft, command)
  bench = varied.make_bench()
  row = jax.tree.map(lambda x: np.asarray(x[0]), soft)
  bench.place(row)
  bench.set_targets(command[0].astype(np.float64))
  for _ in range(varied.config.substeps):
    bench.step()
  world = bench.world()
  np.testing.assert_allclose(world.qpos[0], moved.qpos[0], atol=2e-5)
  np.testing.assert_array_equal(world.variation.gain[0], row.variation.gain)
  stiff = step(soft.replace(variation=None), command)
  gone = np.asarray(moved.qpos - soft.qpos)[:, :6].mean()
  assert gone < 0.7 * np.asarray(stiff.qpos - soft.qpos)[:, :6].mean()
  # The next episode without a variation has the nominal gains again.
  bench.place(jax.tree.map(lambda x: np.asarray(x[0]), starts))
  model = scene_lib.load().mj_model
  np.testing.assert_array_equal(
    bench.model.actuator_gainprm, model.actuator_gainprm
  )


def test_cameras_stand_where_they_were_drawn(varied, state):
  poses = varied.render.poses(state)
  model = varied.make_bench().model
  drawn = jax.tree.map(lambda x: np.asarray(x[3]), state)
  for c in range(model.ncam):
    model.cam_pos[c] += drawn.variation.camera_pos[c]
    turn, quat = np.zeros(4), drawn.variation.camera_rot[c].astype(np.float64)
    mujoco.mju_axisAngle2Quat(
      turn, quat / np.linalg.norm(quat), np.linalg.norm(quat)
    )
    mujoco.mju_mulQuat(model.cam_quat[c], model.cam_quat[c].copy(), turn)
  data = mujoco.MjData(model)
  data.qpos[:] = drawn.qpos
  mujoco.mj_kinematics(model, data)
  mujoco.mj_camlight(model, data)
  np.testing.assert_allclose(poses.camera_pos[3], data.cam_xpos, atol=1e-6)
  np.testing.assert_allclose(
    np.asarray(poses.camera_mat[3]).reshape(-1, 9), data.cam_xmat, atol=1e-5
  )


def test_sensors_have_noise_and_the_world_has_not(varied, task, state):
  later = state.replace(steps=state.steps + 1)
  true = task.joint_positions(state)
  noise = np.asarray(varied.joint_positions(state) - true)
  grippers = [6, 13]
  assert not noise[:, grippers].any()
  arms = np.delete(noise, grippers, axis=1)
  assert 1.8e-3 < arms.std() < 2.2e-3
  np.testing.assert_array_equal(varied.joint_positions(state) - true, noise)
  assert np.abs(varied.joint_positions(later) - true - noise).max() > 1e-3
  proprio = np.asarray(varied.proprio(state))
  np.testing.assert_allclose(proprio[:, :14], true + noise, atol=1e-7)
  rates = np.delete(proprio[:, 14:], grippers, axis=1)
  assert 0.045 < rates.std() < 0.055
  # Leading axes, as of a trajectory.
  both = jax.tree.map(lambda *x: np.stack(x), state, later)
  np.testing.assert_array_equal(varied.proprio(both)[0], proprio)


@pytest.mark.parametrize(
  'field, value, rule',
  [
    ('gain', (0.0, 1.0), 'gain must be two finite numbers, 0 <'),
    ('gain', (1.2, 0.8), 'lowest <= highest'),
    ('camera_shift_mm', -1.0, 'camera_shift_mm must be finite and at least 0'),
    ('joint_noise_mrad', float('nan'), 'joint_noise_mrad must be finite'),
  ],
)
def test_a_range_that_cannot_be_is_refused(field, value, rule):
  with pytest.raises(ValueError, match=rule):
    dataclasses.replace(EthernetConfig(), **{field: value})
