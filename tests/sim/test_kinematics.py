import copy
import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rlt_jax.sim import kinematics
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import scene as scene_lib

_ROWS = 20


@pytest.fixture(scope='module')
def draws(scene):
  """joints [20, 6] all over their range, grasp_pos and grasp_rot [20, 3]."""
  rng = np.random.default_rng(1)
  low, high = scene.joint_low[:6], scene.joint_high[:6]
  return (
    rng.uniform(low, high, (_ROWS, 6)).astype(np.float32),
    rng.uniform(-1e-3, 1e-3, (_ROWS, 3)).astype(np.float32),
    rng.uniform(-0.1, 0.1, (_ROWS, 3)).astype(np.float32),
  )


@pytest.fixture(scope='module')
def poses(scene, draws):
  """Hand position and matrix, tip position and plug matrix, leading [20]."""

  def both(joints, grasp_pos, grasp_rot):
    return (
      *kinematics.hand_pose(scene.right, joints),
      *kinematics.tip_pose(scene.right, joints, grasp_pos, grasp_rot),
    )

  out = jit(jax.vmap(both))(*draws)
  return jax.tree.map(np.asarray, out)


def _quat(rotvec):
  quat, angle = np.zeros(4), float(np.linalg.norm(rotvec))
  mujoco.mju_axisAngle2Quat(quat, np.float64(rotvec) / angle, angle)
  return quat


def _forward(scene, joints, grasp_pos, grasp_rot):
  """Returns C MuJoCo's model and data of one draw."""
  model = copy.copy(scene.mj_model)
  plug = model.body('plug').id
  model.body_pos[plug] += grasp_pos
  model.body_quat[plug] = _quat(grasp_rot)
  data = mujoco.MjData(model)
  data.qpos[:6] = joints
  mujoco.mj_forward(model, data)
  return model, data


def test_poses_are_those_of_mj_forward(scene, draws, poses):
  for i, draw in enumerate(zip(*draws, strict=True)):
    model, data = _forward(scene, *draw)
    hand, plug = model.body('right_hand').id, model.body('plug').id
    plug_mat = data.xmat[plug].reshape(3, 3)
    tip = data.xpos[plug] - scene_lib.PLUG_LENGTH * plug_mat[:, 2]
    expected = (
      data.xpos[hand],
      data.xmat[hand].reshape(3, 3),
      tip,
      plug_mat,
    )
    for mine, theirs in zip(poses, expected, strict=True):
      np.testing.assert_allclose(mine[i], theirs, atol=1e-6)


def test_the_tip_is_the_lowest_point_of_the_nose(scene):
  model = scene.mj_model
  data = mujoco.MjData(model)
  mujoco.mj_forward(model, data)
  tips = [g for g in range(model.ngeom) if model.geom(g).name[:4] == 'tip_']
  lowest = data.geom_xpos[tips, 2] - model.geom_size[tips, 0]
  plug = data.xpos[scene.plug_body]
  assert len(tips) == 4
  np.testing.assert_allclose(lowest, plug[2] - scene_lib.PLUG_LENGTH, atol=1e-9)


def test_solve_reaches_a_tip_pose(starts, place, tip_in_socket):
  rng = np.random.default_rng(2)
  offset = rng.uniform(-0.01, 0.01, (_ROWS, 3))
  turn = rng.uniform(-0.08, 0.08, (_ROWS, 3))
  state = place(starts, offset, turn)
  tip = tip_in_socket(state)
  np.testing.assert_allclose(tip.lateral, offset[:, :2], atol=2e-6)
  np.testing.assert_allclose(tip.depth, -offset[:, 2], atol=2e-6)
  lean = [kinematics.rotation(jnp.asarray(t))[2, 2] for t in turn]
  np.testing.assert_allclose(tip.tilt, np.arccos(lean), atol=2e-3)


def test_one_newton_step_follows_a_path(starts, place, solve, tip_in_socket):
  offset, turn = np.zeros((_ROWS, 3)), np.zeros((_ROWS, 3))
  state = place(starts, offset, turn)
  offset[:, 0], offset[:, 2] = 0.001, 0.002
  arm = solve(state, np.asarray(state.qpos)[:, :6], offset, turn)
  qpos = np.array(state.qpos)
  qpos[:, :6] = arm
  tip = tip_in_socket(state.replace(qpos=jnp.asarray(qpos)))
  np.testing.assert_allclose(tip.lateral[:, 0], 0.001, atol=3e-5)
  np.testing.assert_allclose(tip.depth, -0.002, atol=3e-5)


@pytest.mark.parametrize('size', [0.0, 1e-6, 0.01, 1.0, 3.0])
def test_rotations_are_those_of_mujoco(size):
  rotvec = size * np.array([2.0, -1.0, 2.0]) / 3.0
  matrix = np.zeros(9)
  quat = _quat(rotvec) if size else np.array([1.0, 0.0, 0.0, 0.0])
  mujoco.mju_quat2Mat(matrix, quat)
  value = jnp.asarray(rotvec, jnp.float32)
  np.testing.assert_allclose(
    kinematics.rotation(value), matrix.reshape(3, 3), atol=1e-6
  )
  np.testing.assert_allclose(kinematics.quaternion(value), quat, atol=1e-6)


@pytest.mark.parametrize('size', [0.0, 0.001, 0.1, 1.0])
def test_small_rotvec_undoes_rotation(size):
  rotvec = size * jnp.array([2.0, -1.0, 2.0]) / 3.0
  np.testing.assert_allclose(
    kinematics.small_rotvec(kinematics.rotation(rotvec)), rotvec, atol=2e-6
  )


def test_rotation_has_a_finite_gradient_at_zero():
  gradient = jax.jacfwd(kinematics.rotation)(jnp.zeros(3))
  assert np.isfinite(gradient).all()
  np.testing.assert_allclose(gradient[2, 1], [1.0, 0.0, 0.0], atol=1e-6)


def test_joint_torques_give_the_force_at_the_tip(scene, draws, poses):
  rng = np.random.default_rng(2)
  read = jax.jit(functools.partial(kinematics.tip_force, scene.right))
  for i, draw in enumerate(zip(*draws, strict=True)):
    model, data = _forward(scene, *draw)
    plug = model.body('plug').id
    push, turn = np.zeros((2, 3, model.nv))
    mujoco.mj_jac(model, data, push, turn, poses[2][i].astype(float), plug)
    force, torque = rng.normal(scale=20.0, size=3), rng.normal(size=3)
    torques = (push.T @ force + turn.T @ torque)[:6]
    found = read(*draw, torques.astype(np.float32))
    np.testing.assert_allclose(found, force, atol=0.05)


def test_the_way_of_the_tip_leads_there(scene):
  starts, goals = np.random.default_rng(3).uniform(-0.2, 0.2, (2, 16, 6))
  nominal = (np.zeros(3), np.zeros(3))

  def end(joints, goal):
    way = kinematics.tip_displacement(scene.right, joints, goal)
    pos, mat = kinematics.tip_pose(scene.right, joints, *nominal)
    return pos + mat @ way[:3], mat @ kinematics.rotation(way[3:])

  actual = jax.jit(jax.vmap(end))(starts, goals)
  expected = jax.jit(
    jax.vmap(lambda goal: kinematics.tip_pose(scene.right, goal, *nominal))
  )(goals)
  for x, y in zip(actual, expected, strict=True):
    np.testing.assert_allclose(x, y, atol=2e-6)
