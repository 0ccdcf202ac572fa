import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim import action_space

_RNG = np.random.default_rng(0)
_POSE = _RNG.normal(size=(3, 14)).astype(np.float32)
_COMMANDS = _POSE[:, None] + _RNG.normal(scale=0.01, size=(3, 5, 14)).astype(
  np.float32
)
_SCALE = np.linspace(0.001, 0.02, 14, dtype=np.float32)


@pytest.mark.parametrize('mode', action_space.MODES)
def test_decode_undoes_encode(mode):
  space = action_space.ActionSpace(_SCALE, mode)
  chunk = space.encode(jnp.asarray(_COMMANDS), jnp.asarray(_POSE))
  np.testing.assert_allclose(
    space.decode(chunk, jnp.asarray(_POSE)), _COMMANDS, atol=1e-6
  )


@pytest.mark.parametrize('mode', action_space.MODES)
def test_zero_means_stay(mode):
  space = action_space.ActionSpace(_SCALE, mode)
  commands = space.decode(jnp.zeros((3, 5, 14)), jnp.asarray(_POSE))
  np.testing.assert_array_equal(commands, np.repeat(_POSE[:, None], 5, 1))


def test_one_steps_correction_survives_as_an_increment_only():
  chunk = np.zeros((5, 14), np.float32)
  chunk[1, 2] = 3.0
  moved = {
    mode: np.asarray(
      action_space.ActionSpace(_SCALE, mode).decode(
        jnp.asarray(chunk), _POSE[0]
      )
    )[:, 2]
    - _POSE[0, 2]
    for mode in action_space.MODES
  }
  size = 3.0 * _SCALE[2]
  np.testing.assert_allclose(moved['offset'], [0, size, 0, 0, 0], atol=1e-6)
  np.testing.assert_allclose(
    moved['increment'], [0, size, size, size, size], atol=1e-6
  )


def test_single_worlds_and_batches_decode_alike():
  space = action_space.ActionSpace(_SCALE, 'increment')
  batch = space.decode(jnp.ones((3, 5, 14)), jnp.asarray(_POSE))
  one = space.decode(jnp.ones((5, 14)), jnp.asarray(_POSE[1]))
  np.testing.assert_array_equal(batch[1], one)


def test_a_unit_is_the_deviation_about_zero():
  # Offsets 1 and 3 mrad have a deviation of 1 about their mean, but of
  # sqrt(5) about the pose.
  commands = np.zeros((2, 1, 14), np.float32)
  commands[0], commands[1] = 0.001, 0.003
  space = action_space.fit(commands, np.zeros((2, 14), np.float32))
  np.testing.assert_allclose(space.scale, 0.001 * np.sqrt(5), rtol=1e-5)
  assert space.mode == 'offset'


def test_increments_are_measured_as_increments():
  steps = np.arange(1, 6, dtype=np.float32)[None, :, None] * 0.002
  commands = np.tile(steps, (4, 1, 14))
  space = action_space.fit(
    commands, np.zeros((4, 14), np.float32), mode='increment'
  )
  np.testing.assert_allclose(space.scale, 0.002, rtol=1e-4)


def test_a_resting_joint_keeps_a_floor():
  still = np.zeros((2, 3, 14), np.float32)
  space = action_space.fit(still, still[:, 0])
  floor = np.full(14, 1e-3)
  floor[[6, 13]] = 2e-4  # The grippers, in meters.
  np.testing.assert_allclose(space.scale, floor)
  chunk = space.encode(jnp.asarray(still + 1e-6), jnp.asarray(still[:, 0]))
  assert np.abs(chunk).max() < 0.01  # A micron or microradian is nothing.


@pytest.mark.parametrize(
  'commands, pose, mode, message',
  [
    ((2, 5, 14), (2, 14), 'absolute', 'mode must be one of'),
    ((5, 14), (14,), 'offset', r'commands must be \[B, C, A\]'),
    ((2, 5, 14), (3, 14), 'offset', r'commands must be \[B, C, A\]'),
    ((2, 5, 14), (2, 12), 'offset', r'commands must be \[B, C, A\]'),
  ],
)
def test_fit_refuses(commands, pose, mode, message):
  with pytest.raises(ValueError, match=message):
    action_space.fit(np.zeros(commands), np.zeros(pose), mode=mode)


def test_a_command_is_shortened_along_its_way():
  measured = jnp.zeros(14)
  wanted = jnp.array([0.2, -0.4, 0.1, 0, 0, 0.3, 1.0, *[0.01] * 6, -1.0])
  reach = jnp.array([0.1] * 5 + [0.3, 0.005] + [0.1] * 6 + [0.005])
  executed = action_space.limit_command(
    wanted, measured, reach, jnp.full(14, -1.6), jnp.full(14, 1.6)
  )
  right = np.array([0.05, -0.1, 0.025, 0, 0, 0.075])  # a quarter of the way
  np.testing.assert_allclose(executed[:6], right, rtol=1e-6)
  np.testing.assert_allclose(
    np.asarray(executed)[[6, 13]], [0.005, -0.005], rtol=1e-6
  )
  np.testing.assert_array_equal(executed[7:13], np.asarray(wanted)[7:13])


def test_a_command_is_held_to_the_joints():
  measured = jnp.full(14, 1.55)
  executed = action_space.limit_command(
    measured + 0.1, measured, jnp.full(14, 0.1), jnp.full(14, -1.6),
    jnp.full(14, 1.6),
  )  # fmt: skip
  np.testing.assert_allclose(executed, np.full(14, 1.6), rtol=1e-6)
