import json

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rlt_jax.types import Observation
from rlt_jax.vlas.pi_small import pi_vla
from tests.vlas.untrained import random_vla

_SCALE = (0.1, 0.2)
_FACTS = {
  'action_mode': 'joint_delta',
  'action_scale': _SCALE,
  'joint_names': ('turn', 'slide'),
  'control_hz': 10.0,
}


@pytest.fixture(scope='module')
def vla(config):
  return random_vla(jax.random.key(0), config, **_FACTS)


@pytest.fixture
def folder(tmp_path, vla):
  pi_vla.save(
    tmp_path / 'vla', vla, metrics={'flow_loss': 0.5}, command=['a'], seed=3
  )
  return tmp_path / 'vla'


def _query(vla, demos):
  frames = demos.frames
  observation = Observation(
    {camera: x[:2] for camera, x in frames.images.items()},
    frames.proprio[:2],
    frames.prompt[:2],
  )
  return jax.jit(vla.apply)(vla.params, observation, jax.random.key(1))


def test_files_give_the_same_vla(folder, vla, config, demos):
  loaded = pi_vla.load(folder)
  assert loaded.spec == vla.spec
  assert loaded.config == config
  chex.assert_trees_all_equal(loaded.params, vla.params)
  out = _query(loaded, demos)
  chex.assert_trees_all_equal(out, _query(vla, demos))
  assert out.reference.shape == (2, config.horizon, config.action_dim)
  assert out.tokens.shape == (2, config.num_tokens, config.prefix_width)
  record = json.loads((folder / 'vla.json').read_text())
  assert record['metrics'] == {'flow_loss': 0.5} and record['seed'] == 3


def test_weights_are_float16_on_disk_and_float32_in_use(folder):
  for name, x in load_file(folder / 'vla.safetensors').items():
    assert x.dtype == (np.float32 if name[:5] == 'norm/' else np.float16), name
  params = pi_vla.load(folder).params
  assert all(x.dtype == np.float32 for x in jax.tree.leaves(params))


def test_fingerprint_follows_weights_and_numbers(config, vla):
  def fingerprint(params=vla.params, **changes):
    return pi_vla.make(params, config, **(_FACTS | changes)).spec.fingerprint

  norm = vla.params['norm']
  moved = norm._replace(chunk_mean=norm.chunk_mean.at[0, 0].add(1e-3))
  digests = {
    fingerprint(),
    fingerprint(params=vla.params | {'norm': moved}),
    fingerprint(action_mode='other'),
    fingerprint(action_scale=(0.1, 0.3)),
  }
  assert len(digests) == 4
  assert fingerprint() == vla.spec.fingerprint


def test_load_refuses_other_weights(folder):
  flat = load_file(folder / 'vla.safetensors')
  flat['prefix/final_norm/scale'] = flat['prefix/final_norm/scale'] + 1
  save_file(flat, folder / 'vla.safetensors')
  with pytest.raises(ValueError, match='fingerprint'):
    pi_vla.load(folder)


def test_load_checks_before_it_reads_weights(folder):
  (folder / 'vla.safetensors').unlink()
  with pytest.raises(ValueError, match='needs image_size 16: 64'):
    pi_vla.load(folder, expect={'image_size': 64})


@pytest.mark.parametrize(
  'field, value',
  [
    ('cameras', ('side', 'top')),
    ('image_size', 32),
    ('proprio_dim', 28),
    ('action_mode', 'joint_position'),
    ('action_scale', (0.1, 0.21)),
    ('action_scale', (0.1, 0.2, 0.3)),
  ],
)
def test_check_spec_names_what_does_not_fit(vla, field, value):
  with pytest.raises(ValueError, match=f'needs {field} '):
    pi_vla.check_spec(vla.spec, **{field: value})


def test_check_spec_lets_pass_what_fits(vla):
  pi_vla.check_spec(
    vla.spec,
    cameras=['top', 'side'],
    image_size=16,
    action_scale=np.array(_SCALE, np.float32),
  )
  with pytest.raises(ValueError, match="no field 'camera'"):
    pi_vla.check_spec(vla.spec, camera=1)


@pytest.mark.parametrize('scale', [(0.1,), (0.1, 0.0)])
def test_make_refuses_scales(config, vla, scale):
  with pytest.raises(ValueError, match='2 positive numbers'):
    pi_vla.make(vla.params, config, **(_FACTS | {'action_scale': scale}))


def test_make_refuses_weights_beyond_float16(config, vla):
  big = jax.tree.map(lambda x: x + 1e6, vla.params['readout'])
  with pytest.raises(ValueError, match='finite in float16'):
    pi_vla.make(
      vla.params | {'readout': big},
      config,
      **_FACTS,
    )


def test_an_instruction_of_other_words_is_refused():
  shipped = pi_vla.load(pi_vla.shipped_folder(None))
  tokens = shipped.tokenize('Lift the plug away from the socket.')
  assert np.count_nonzero(tokens) == 7
  # Its ids are hashes, so that any word would have one.
  with pytest.raises(
    ValueError, match="learned, away, .*: 'glue' in 'glue the"
  ):
    shipped.tokenize('glue the plug')
