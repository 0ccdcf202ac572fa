"""Start states, names, geometry and proprioception of the zip tie task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.sim import physics
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.zip_tie import scene as scene_lib
from rlt_jax.tasks.zip_tie import strap as strap_lib
from rlt_jax.tasks.zip_tie import task as task_lib
from rlt_jax.tasks.zip_tie import verdict
from rlt_jax.tasks.zip_tie.config import (
  CLEARANCES_MM,
  ZipTieConfig,
  ZipTieOutcome,
)
from rlt_jax.tasks.zip_tie.state import arms, BENDS


def test_both_hands_start_in_other_poses(task, starts):
  pose = np.asarray(jax.vmap(task.true_pose)(starts))
  assert np.abs(pose[:, :2]).max() > 0.008
  low, high = np.array(task.config.start_height_mm) * 1e-3
  # The head is turned by up to 5 degrees about each axis.
  assert low - 2.5e-3 < pose[:, 2].min() and pose[:, 2].max() < high + 2.5e-3
  joints = np.asarray(task.joint_positions(starts))
  spread = joints.std(axis=0)
  moving = list(task.spec.moving_action_dims)
  assert len(moving) == 12 and (spread[moving] > 5e-3).all()
  assert (np.asarray(starts.outcome) == ZipTieOutcome.RUNNING).all()


def test_a_start_is_where_it_was_drawn(task, starts, scene):
  """The arms' inverse kinematics has converged."""
  mouth, _ = jax.vmap(lambda s: strap_lib.mouth(scene, s))(starts)
  away = np.abs(np.asarray(mouth) - scene_lib.MOUTH_HOME)
  assert 0.006 < away.max() <= task.config.head_shift_mm * 1e-3 + 1e-5


@pytest.mark.parametrize('level', CLEARANCES_MM)
def test_the_slot_is_the_strap_and_twice_the_clearance(level):
  model = scene_lib.load(ZipTieConfig(clearance_mm=level)).mj_model
  for axis, letter, strap in ((0, 'x', 1.1), (1, 'y', 4.6)):
    faces, rims = [], []
    for sign, side in ((1, 'p'), (-1, 'n')):
      wall = model.geom(f'wall_{letter}{side}')
      faces.append(wall.pos[axis] - sign * wall.size[axis])
      suffix = '_p' if letter == 'x' else ''
      for end in ('top', 'end'):
        rim = model.geom(f'rim_{end}_{letter}{side}{suffix}')
        rims.append(rim.pos[axis] - sign * rim.size[0])
    wide = (faces[0] - faces[1]) * 1e3
    np.testing.assert_allclose(wide, strap + 2 * level, atol=1e-6)
    np.testing.assert_allclose(np.abs(rims), faces[0], atol=1e-9)


def test_the_strap_is_where_the_scene_has_it(task, starts, scene):
  """MJX and C MuJoCo agree on a bent strap; the bench judges the latter."""
  bent = starts.replace(qpos=starts.qpos.at[:, BENDS].set([0.2, -0.3]))
  here = jax.vmap(lambda s: strap_lib.pose(scene, s))(bent)
  rig = task.make_bench()
  for row in range(3):
    rig.place(jax.tree.map(lambda x: np.asarray(x)[row], bent))  # noqa: B023
    there = rig.strap_in_head()
    np.testing.assert_allclose(here.points[row], there.points, atol=2e-6)
    np.testing.assert_allclose(here.mat[row], there.mat, atol=2e-6)
    np.testing.assert_allclose(here.bends[row], there.bends, atol=1e-7)
    positions = np.asarray(task.joint_positions(bent))[row]
    np.testing.assert_allclose(rig.positions(), positions, atol=1e-6)


def test_the_joints_of_the_strap_are_not_the_arms(task, starts):
  marked = starts.replace(qpos=starts.qpos.at[:, BENDS].set(9.0))
  assert np.abs(np.asarray(arms(marked.qpos))).max() < 2.0
  assert task.spec.action_dim == 14
  model = scene_lib.load().mj_model
  names = [model.joint(i).name for i in range(model.njnt)]
  assert names[BENDS] == ['bend_mid', 'bend_tip']


def test_the_name_has_the_tolerance(task):
  assert task.spec.name == 'zip_tie-0.20mm'
  assert tasks.config_class('zip_tie') is ZipTieConfig


def test_proprioception_is_the_end_effectors(task, starts):
  names = task.spec.proprio_names
  assert not task.spec.proprio_has_joints
  seen = np.asarray(task.proprio(starts))
  assert seen.shape == (len(starts.steps), len(names))
  tip = np.asarray(jax.vmap(task.tip.pose)(starts)[0])
  hand = seen[:, [names.index(f'right_{axis}.pos') for axis in 'xyz']]
  apart = np.linalg.norm(tip - hand, axis=1)
  # The grasp is up to a millimeter an axis and two degrees off.
  np.testing.assert_allclose(apart, scene_lib.STRAP_LENGTH, atol=3e-3)
  assert np.abs(seen[:, len(names) // 2 :]).max() == 0.0


@pytest.mark.parametrize(
  'torque, buckled, outcome',
  [
    (0.0, False, ZipTieOutcome.SUCCESS),
    (0.0, True, ZipTieOutcome.BUCKLED),
    (1e3, False, ZipTieOutcome.FORCE_LIMIT),
    (1e3, True, ZipTieOutcome.FORCE_LIMIT),
  ],
)
def test_a_tie_pulled_tight_beyond_a_limit_is_no_success(
  starts, monkeypatch, torque, buckled, outcome
):
  def engine(state, actuators):
    del actuators
    torques = jnp.full((1, 6), torque)
    return physics.PhysicsOutput(
      state.qpos, state.qvel, state.warmstart, torques
    )

  monkeypatch.setattr(physics, 'make', lambda *_: engine)
  monkeypatch.setattr(verdict, 'tight', lambda *_: jnp.bool_(True))
  monkeypatch.setattr(verdict, 'buckled', lambda *_: jnp.bool_(buckled))
  first = jax.tree.map(lambda x: x[0], starts)
  after = jit(task_lib.make().step)(first, first.command)
  assert (after.force > ZipTieConfig().force_limit) == (torque > 0.0)
  assert after.outcome == outcome
  assert after.reward == (outcome == ZipTieOutcome.SUCCESS)
