"""Start states, names and proprioception of the charger task."""

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.tasks.charger import scene as scene_lib
from rlt_jax.tasks.charger.config import ChargerConfig, CLEARANCES_MM
from rlt_jax.tasks.insertion.config import InsertionConfig, InsertionOutcome


def test_an_episode_starts_centimeters_from_the_slots(task, starts):
  pose = jax.vmap(task.true_pose)(starts)
  lateral, height = np.asarray(pose[:, :2]), np.asarray(pose[:, 2])
  assert np.abs(lateral).max() > 0.01
  assert (np.linalg.norm(lateral, axis=1) > 0.003).mean() > 0.8
  low, high = np.array(task.config.start_height_mm) * 1e-3
  # The socket is turned by up to 3 degrees about each axis.
  assert low - 2e-3 < height.min() and height.max() < high + 2e-3
  assert (np.asarray(starts.outcome) == InsertionOutcome.RUNNING).all()
  assert np.asarray(starts.entered).shape == (len(lateral), 2)


def test_the_prongs_tips_are_where_the_scene_has_them(task, scene):
  model = scene.mj_model
  for name, prong in zip('pn', scene_lib.PRONGS.T, strict=True):
    ends = [model.geom(f'tip_{name}_{end}') for end in 'pn']
    middle = np.mean([geom.pos for geom in ends], axis=0)
    np.testing.assert_allclose(middle[:2], prong[:2], atol=1e-9)
    deepest = ends[0].pos[2] - ends[0].size[0]
    np.testing.assert_allclose(deepest, -scene_lib.PLUG_LENGTH, atol=1e-9)


@pytest.mark.parametrize('level', CLEARANCES_MM)
def test_a_slot_is_a_prong_and_twice_the_clearance(level):
  model = scene_lib.load(ChargerConfig(clearance_mm=level)).mj_model

  def face(name, axis, sign):
    geom = model.geom(name)
    return geom.pos[axis] + sign * geom.size[axis]

  wide = face('wall_xp', 0, -1) - face('wall_xn', 0, 1)
  thick = face('wall_yp', 1, -1) - face('wall_mid', 1, 1)
  np.testing.assert_allclose(wide * 1e3, 6.3 + 2 * level, atol=1e-6)
  np.testing.assert_allclose(thick * 1e3, 1.5 + 2 * level, atol=1e-6)


def test_another_level_is_refused():
  with pytest.raises(ValueError, match=r'one of \(0.5, 0.3, 0.2, 0.1\): 0.4'):
    tasks.load('charger', ChargerConfig(clearance_mm=0.4))


def test_the_name_has_the_tolerance(task):
  assert task.spec.name == 'charger-0.50mm'
  assert ChargerConfig(clearance_mm=0.1).name == 'charger-0.10mm'


def test_proprioception_is_the_end_effectors(task, scene, starts):
  names = task.spec.proprio_names
  assert not task.spec.proprio_has_joints
  seen = np.asarray(task.proprio(starts))
  assert seen.shape == (len(starts.steps), len(names))
  tip = np.asarray(jax.vmap(task.tip.pose)(starts)[0])
  hand = seen[:, [names.index(f'right_{axis}.pos') for axis in 'xyz']]
  apart = np.linalg.norm(tip - hand, axis=1)
  # The grasp is up to a millimeter an axis and two degrees off.
  np.testing.assert_allclose(apart, scene_lib.PLUG_LENGTH, atol=2e-3)
  assert seen[:, names.index('right_gripper.pos')].max() < 1e-6
  assert np.abs(seen[:, len(names) // 2 :]).max() == 0.0


def test_proprioception_of_numpy_and_of_jax_states_agree(task, starts):
  rates = np.random.default_rng(0).normal(size=starts.qvel.shape)
  moving = starts.replace(qvel=np.float32(rates))
  here = task.proprio(jax.tree.map(np.asarray, moving))
  there = task.proprio(moving)
  np.testing.assert_allclose(here, there, atol=1e-5)


def test_proprio_is_a_choice():
  with pytest.raises(ValueError, match="one of .*'end_effector'.*: 'pixels'"):
    InsertionConfig(proprio='pixels')
  assert ChargerConfig().proprio == 'end_effector'
