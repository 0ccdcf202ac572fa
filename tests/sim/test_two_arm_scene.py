"""Composed scenes, and what the hands' kinematics say of them."""

import mujoco
import numpy as np
import pytest

from rlt_jax.sim import kinematics, two_arm_bench, two_arm_scene

_PARTS = """
<mujoco>
  <worldbody>
    <frame name="fixture"><body name="block" mocap="true"><geom name="wall"
      type="box" size=".01 .01 .01"/></body></frame>
    <frame name="left_tool"><body name="bit" pos="0 0 -.11"><geom name="ball"
      type="sphere" size=".002" mass=".01"/></body></frame>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope='module')
def model():
  spec = two_arm_scene.compose(
    mujoco.MjSpec.from_string(_PARTS),
    name='parts',
    timestep=0.002,
    solver_iterations=12,
  )
  two_arm_scene.add_contacts(spec, [('ball', 'wall')], time_constant=0.01)
  return spec.compile()


def test_parts_are_where_their_frames_say(model):
  assert model.body('block').parentid == 0
  hand = model.body('left_hand').id
  assert model.body('bit').parentid == hand
  assert (model.opt.timestep, model.opt.iterations) == (0.002, 12)
  assert model.npair == 1
  np.testing.assert_allclose(model.pair_solref[0], [0.01, 1.0])


def test_names_are_those_of_the_files(model):
  names = [model.joint(i).name for i in range(model.njnt)]
  fingers = [f'{s}_finger_{f}' for s in two_arm_bench.SIDES for f in 'ab']
  arms = [x for x in two_arm_bench.JOINTS if 'gripper' not in x]
  assert sorted(names) == sorted(arms + fingers)
  assert [model.actuator(i).name for i in range(model.nu)] == names


def test_the_limits_of_the_arms_hold_in_every_scene(model):
  moved = model.jnt_range[model.actuator_trnid[:, 0]].T
  for found, expected in zip(two_arm_scene.joint_limits(), moved, strict=True):
    assert found.shape == (two_arm_bench.ACTION_DIM,)
    np.testing.assert_allclose(found, two_arm_bench.to_joints(expected))
    assert (np.abs(found) > 0.0).all()


def test_a_file_without_frames_is_refused():
  with pytest.raises(ValueError, match="a frame of .*'fixture'.*: none"):
    two_arm_scene.compose(
      mujoco.MjSpec.from_string('<mujoco/>'),
      name='empty',
      timestep=0.004,
      solver_iterations=8,
    )


@pytest.mark.parametrize('side', two_arm_bench.SIDES)
def test_a_hands_motion_is_that_of_mujoco(model, side):
  chain = two_arm_scene.arm_chain(model, side)
  rng = np.random.default_rng(3)
  joints, rates = rng.uniform(-0.7, 0.7, (2, 5, 6))
  motion = kinematics.hand_motion(chain, joints, rates)
  ids = [model.joint(f'{side}_j{i}').dofadr[0] for i in range(1, 7)]
  hand, data = model.body(f'{side}_hand').id, mujoco.MjData(model)
  home = chain.base_mat
  for row in range(5):
    data.qpos[ids], data.qvel[ids] = joints[row], rates[row]
    mujoco.mj_forward(model, data)
    mat = data.xmat[hand].reshape(3, 3)
    point = data.xpos[hand] + mat @ two_arm_scene.GRASP
    jacobian = np.zeros((2, 3, model.nv))
    mujoco.mj_jac(model, data, *jacobian, point, hand)
    velocity, spin = jacobian @ data.qvel
    np.testing.assert_allclose(motion.position[row], point, atol=1e-9)
    np.testing.assert_allclose(motion.velocity[row], velocity, atol=1e-9)
    np.testing.assert_allclose(motion.spin[row], spin, atol=1e-9)
    quat, turn = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quat, (mat @ home.T).ravel())
    mujoco.mju_quat2Vel(turn, quat, 1.0)
    np.testing.assert_allclose(motion.turn[row], turn, atol=1e-6)


def test_the_home_pose_has_no_turn(model):
  chain = two_arm_scene.arm_chain(model, 'right')
  motion = kinematics.hand_motion(chain, np.zeros(6), np.zeros(6))
  np.testing.assert_array_equal(motion.turn, 0.0)
