"""The VLA in front of the model: robot, statistics, prompt, fingerprint."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.types import Observation
from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.openpi import model, openpi_vla, robot_map, statistics
from rlt_jax.vlas.openpi.config import JointConfig
from tests.vlas.openpi import models

_TEXT = 'insert the plug'


@pytest.fixture(scope='module')
def config():
  return models.bench_config('pi05')


@pytest.fixture(scope='module')
def params(config):
  return models.random_params(config.model)


@pytest.fixture(scope='module')
def vla(config, params):
  return models.make_vla(config, params)


@pytest.fixture(scope='module')
def observation(vla):
  spec, rng = vla.spec, np.random.default_rng(0)
  shape = (2, spec.image_size, spec.image_size, 3)
  return Observation(
    {c: rng.integers(0, 255, shape).astype(np.uint8) for c in spec.cameras},
    rng.normal(0.1, 0.3, (2, spec.proprio_dim)).astype(np.float32),
    np.tile(vla.tokenize(_TEXT), (2, 1)),
  )


def _noise(spec):
  return vla_lib.draw_noise(jax.random.key(3), 2, spec)


def test_a_reference_decodes_to_openpis_joint_targets(vla, observation):
  """Without the glue: normalize, sample, restore, add the state."""
  config, spec = vla.config, vla.spec
  noise = _noise(spec)
  out = jax.jit(vla.apply_with_noise)(vla.params, observation, noise)
  stats = models.random_statistics(14)
  state, actions = stats.state.by_quantiles(), stats.actions.by_quantiles()
  pose = observation.proprio[:, :14]
  normalized = state.normalize(pose).astype(np.float32)
  inputs = vla.read(vla.params, observation, normalized)
  words = np.asarray(inputs.prompt)
  assert words.shape == (2, 200)
  bins = (np.floor((normalized[0] + 1.0) * 128)).clip(-1, 255).astype(int)
  text = f'Task: {_TEXT}, State: {" ".join(map(str, bins))};\nAction: '
  np.testing.assert_array_equal(
    words[0][words[0] != 0], [2, *models.encode(text)]
  )
  padding = np.asarray(vla.params['norm'].padding)
  start = np.concatenate([noise, np.stack([padding] * 2)], axis=-1)

  @jax.jit
  def sample(params):
    prefix = model.run_prefix(params, inputs, config.model)
    return model.sample(
      params, prefix, inputs.state, start, config=config.model, steps=3
    )

  restored = actions.restore(np.asarray(sample(vla.params['model']))[..., :14])
  delta = np.array([joint.delta for joint in config.joints])
  expected = restored + delta * pose[:, None]
  # What the action space of the tasks makes of a reference.
  commands = pose[:, None] + np.asarray(out.reference) * spec.action_scale
  np.testing.assert_allclose(commands, expected, atol=1e-4)
  assert padding.std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize('family', ['pi0', 'pi05'])
def test_normalized_actions_decode_to_openpis_absolute_ones(
  family, monkeypatch
):
  """From what the flow gives to what the arm gets, by openpi's statistics."""
  table = json.loads((models.REFERENCE / 'transforms.json').read_text())
  case, state = table['cases'][family], np.float32(table['state'])
  asked = np.float32(case['actions_normalised'])
  file = models.CHECKPOINT / 'assets' / 'tiny_arm' / 'norm_stats.json'
  stats = statistics.read(file, 14, quantiles=case['quantiles'])
  config = models.bench_config(family, horizon=len(asked))
  joints = tuple(
    JointConfig(name=joint.name, unit=joint.unit, delta=delta)
    for joint, delta in zip(config.joints, table['delta_mask'], strict=True)
  )
  vla = models.make_vla(dataclasses.replace(config, joints=joints), stats=stats)
  monkeypatch.setattr(
    model, 'sample', lambda *_, **__: jnp.asarray(asked)[None]
  )
  spec, seen = vla.spec, []
  read = openpi_vla.OpenpiVla.read

  def keep(self, params, observation, normalized):
    seen.append(normalized)
    return read(self, params, observation, normalized)

  monkeypatch.setattr(openpi_vla.OpenpiVla, 'read', keep)
  image = np.zeros((1, spec.image_size, spec.image_size, 3), np.uint8)
  observation = Observation(
    dict.fromkeys(spec.cameras, image),
    np.concatenate([state, np.zeros(14, np.float32)])[None],
    vla.tokenize(_TEXT)[None],
  )
  noise = np.zeros((1, spec.horizon, 14), np.float32)
  out = vla.apply_with_noise(vla.params, observation, noise)
  space = ActionSpace(np.float32(spec.action_scale), spec.action_mode)
  found = space.decode(out.reference[0], state)
  expected = np.array(case['absolute_actions'])[:, :14]
  np.testing.assert_allclose(found, expected, atol=1e-5)
  expected = np.array(case['state_normalised'])[:14]
  np.testing.assert_allclose(seen[0][0], expected, atol=1e-4)


def test_the_other_tap_gives_other_tokens_and_the_same_chunk(
  vla, params, observation
):
  config = dataclasses.replace(vla.config, token_layer='last_input')
  other = models.make_vla(config, params)
  results = [
    jax.jit(x.apply_with_noise)(x.params, observation, _noise(x.spec))
    for x in (vla, other)
  ]
  np.testing.assert_allclose(
    results[0].reference, results[1].reference, atol=1e-4
  )
  assert not np.allclose(results[0].tokens, results[1].tokens, atol=1e-2)


def test_the_state_is_words_for_pi05_and_a_token_for_pi0(params):
  for family, shown, length in (('pi05', True, 200), ('pi0', False, 48)):
    config = models.bench_config(family)
    found = models.make_vla(config)
    assert (found.params['state_words'] is not None) == shown
    tokens = found.spec.num_tokens - 3 * config.model.tower.tokens
    assert tokens == length
  silent = models.bench_config('pi05', state_in_prompt=False)
  assert models.make_vla(silent, params).params['state_words'] is None


def test_cameras_keep_openpis_slots_whatever_their_names(vla):
  cameras = {'right_wrist_0_rgb': 'wrist_right', 'base_0_rgb': 'base'}
  config = dataclasses.replace(vla.config, cameras=cameras)
  spec = models.make_vla(config).spec
  assert spec.cameras == ('base', 'wrist_right')
  assert spec.num_tokens == vla.spec.num_tokens - 4


def test_resting_joints_stay_where_they_are(params):
  config = models.bench_config('pi05')
  joints, rest = config.joints[:7], config.joints[7:]
  config = dataclasses.replace(
    config,
    joints=joints,
    resting_joints=tuple(joint.name for joint in rest),
  )
  one_arm = models.make_vla(config, params)
  rng = np.random.default_rng(0)
  image = np.zeros((1, 64, 64, 3), np.uint8)
  observation = Observation(
    dict.fromkeys(one_arm.spec.cameras, image),
    rng.normal(size=(1, 28)).astype(np.float32),
    one_arm.tokenize(_TEXT)[None],
  )
  noise = rng.normal(size=(1, 50, 14)).astype(np.float32)
  out = jax.jit(one_arm.apply_with_noise)(one_arm.params, observation, noise)
  reference = np.asarray(out.reference)
  assert not reference[..., 7:].any() and reference[..., :7].all()


def test_the_robots_order_of_joints_is_its_own(vla, params, observation):
  order = vla.spec.joint_names[::-1]
  config = dataclasses.replace(vla.config, joint_order=order)
  other = models.make_vla(config, params)
  assert other.spec.joint_names == order
  assert other.spec.action_scale == vla.spec.action_scale[::-1]
  noise = np.asarray(_noise(vla.spec))
  out = jax.jit(vla.apply_with_noise)(vla.params, observation, noise)
  proprio = observation.proprio.reshape(2, 2, 14)[..., ::-1].reshape(2, 28)
  turned = jax.jit(other.apply_with_noise)(
    other.params, observation._replace(proprio=proprio), noise[..., ::-1]
  )
  np.testing.assert_allclose(turned.tokens, out.tokens, atol=1e-4)
  np.testing.assert_allclose(
    turned.reference[..., ::-1], out.reference, atol=2e-3
  )


def test_units_and_speeds_come_from_the_statistics(config, params):
  stats = models.random_statistics(14)
  found = models.make_vla(config, params, stats)
  spec, proprio = found.spec, found.proprio_stats()
  far = np.hypot(stats.actions.mean, stats.actions.std)
  np.testing.assert_allclose(spec.action_scale[0], far[0] * 10 / 50)
  np.testing.assert_allclose(proprio.mean[:14], stats.state.mean, rtol=1e-5)
  np.testing.assert_allclose(proprio.std[:14], stats.state.std, rtol=1e-5)
  # A second at constant speed has this deviation from its start.
  np.testing.assert_allclose(proprio.std[14], np.sqrt(3.0) * far[0], rtol=1e-5)
  zero = stats.actions._replace(std=0 * far, mean=0 * far)
  still = stats._replace(actions=zero)
  spec = models.make_vla(config, params, still).spec
  assert spec.action_scale[:7] == (1e-3,) * 6 + (2e-4,)
  given = dataclasses.replace(config, action_scale=(0.5,) * 14)
  assert models.make_vla(given, params).spec.action_scale == (0.5,) * 14


def test_alohas_gripper_has_a_scale_in_meters():
  joint = JointConfig(name='g', unit='m', delta=False, gripper='aloha')
  travel = robot_map.gripper_travel()
  gains = openpi_vla.linearize(joint, 0.5)
  assert gains[0] == pytest.approx(travel.width)
  assert gains[1] == pytest.approx(travel.width / travel.angle)
  assert gains[2] == pytest.approx(travel.low + travel.width / 2)


@pytest.mark.parametrize(
  'change',
  [
    lambda c: {'digest': 'other'},
    lambda c: {'tokenizer': b'other'},
    lambda c: {'stats': models.random_statistics(14, seed=1)},
    lambda c: {'config': dataclasses.replace(c, horizon=20)},
    lambda c: {'config': dataclasses.replace(c, prompt_length=150)},
    lambda c: {'config': dataclasses.replace(c, state_in_prompt=False)},
    lambda c: {'config': dataclasses.replace(c, token_layer='last_input')},
    lambda c: {'config': dataclasses.replace(c, flow_steps=5)},
    lambda c: {
      'config': dataclasses.replace(
        c,
        cameras=dict(zip(c.cameras, reversed(c.cameras.values()), strict=True)),
      )
    },
  ],
)
def test_the_fingerprint_follows_all_that_changes_a_query(vla, params, change):
  changes = {'config': vla.config, 'params': params} | change(vla.config)
  assert models.make_vla(**changes).spec.fingerprint != vla.spec.fingerprint


def test_the_fingerprint_follows_what_normalizes_proprioception(config, params):
  """Quantiles and a given unit say nothing of mean and deviation."""
  config = dataclasses.replace(config, action_scale=(0.5,) * 14)
  stats = models.random_statistics(14)
  found = [
    models.make_vla(config, params, x)
    for x in (
      stats,
      stats._replace(state=stats.state._replace(mean=stats.state.mean + 0.1)),
      stats._replace(state=stats.state._replace(std=stats.state.std * 2.0)),
      stats._replace(actions=stats.actions._replace(std=np.full(14, 0.3))),
    )
  ]
  assert len({vla.spec.fingerprint for vla in found}) == 4
  specs = [dataclasses.replace(vla.spec, fingerprint='') for vla in found]
  assert specs == [specs[0]] * 4


def test_the_fingerprint_does_not_follow_the_tokenizers_place(vla, params):
  config = dataclasses.replace(vla.config, tokenizer='/elsewhere')
  again = models.make_vla(config, params)
  assert again.spec.fingerprint == vla.spec.fingerprint
