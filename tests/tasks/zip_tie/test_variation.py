"""Gains, cameras and sensors that differ between episodes."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.zip_tie import task as task_lib
from rlt_jax.tasks.zip_tie.config import ZipTieConfig

_WORLDS = 20


@pytest.fixture(scope='module')
def varied():
  return task_lib.make(
    ZipTieConfig(
      proprio='joints',
      gain=(0.8, 1.2),
      camera_shift_mm=2.0,
      camera_turn_deg=1.0,
      joint_noise_mrad=2.0,
      joint_rate_noise_mrad=50.0,
    )
  )


@pytest.fixture(scope='module')
def state(varied):
  keys = jax.random.split(jax.random.PRNGKey(7), _WORLDS)
  return jit(jax.vmap(varied.reset))(keys)


def test_nominal_settings_draw_nothing(starts, state):
  assert starts.variation is None
  # Compiled as two programs, they differ in the last bit.
  chex.assert_trees_all_close(starts, state.replace(variation=None), atol=1e-6)


def test_gains_and_cameras_are_those_of_the_models(varied, scene, state):
  """Both engines have the drawn gains, and the cameras their drawn places."""
  row = jax.tree.map(lambda x: x[3], state)
  nominal = scene.world.mjx_model
  model = jax.jit(scene.world.set_model)(nominal, row)
  ratio = np.asarray(
    model.actuator_gainprm[:, 0] / nominal.actuator_gainprm[:, 0]
  )
  assert 0.8 <= ratio.min() < 0.9 and 1.1 < ratio.max() <= 1.2
  # The left arm's joints follow the right gripper's two fingers.
  np.testing.assert_allclose(ratio[:6], row.variation.gain[:6], rtol=1e-6)
  np.testing.assert_allclose(ratio[8:14], row.variation.gain[7:13], rtol=1e-6)
  np.testing.assert_allclose(
    model.actuator_biasprm[:, 1], ratio * nominal.actuator_biasprm[:, 1]
  )
  moved = np.asarray(model.cam_pos - nominal.cam_pos)
  np.testing.assert_allclose(moved, row.variation.camera_pos, atol=1e-7)
  bench = varied.make_bench()
  bench.place(jax.tree.map(np.asarray, row))
  np.testing.assert_allclose(
    bench.model.actuator_gainprm[:, 0], model.actuator_gainprm[:, 0], rtol=1e-6
  )
  np.testing.assert_array_equal(
    bench.world().variation.gain[0], row.variation.gain
  )


def test_sensors_have_noise_and_the_world_has_not(varied, task, state):
  true = np.asarray(task.joint_positions(state))
  noise = np.asarray(varied.joint_positions(state)) - true
  grippers = [6, 13]
  assert not noise[:, grippers].any()
  arms = np.delete(noise, grippers, axis=1)
  assert 1.8e-3 < arms.std() < 2.2e-3
  proprio = np.asarray(varied.proprio(state))
  np.testing.assert_allclose(proprio[:, :14], true + noise, atol=1e-7)
  rates = np.delete(proprio[:, 14:], grippers, axis=1)
  assert 0.045 < rates.std() < 0.055


def test_a_range_that_cannot_be_is_refused():
  with pytest.raises(ValueError, match='gain must be two finite numbers'):
    dataclasses.replace(ZipTieConfig(), gain=(1.2, 0.8))
