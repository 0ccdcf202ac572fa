"""Checkpoints of openpi are read exactly or refused by name."""

import shutil

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from rlt_jax.vlas.openpi import checkpoint, lora
from rlt_jax.vlas.openpi.model_config import lora_arrays, lora_names
from tests.vlas.openpi import models

_CONFIG = models.small_model('pi05')
_WORD = 'time_mlp_in/kernel'


def _flat(params):
  return flax.traverse_util.flatten_dict(params, sep='/')


def _nested(flat):
  return flax.traverse_util.unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module')
def flat():
  return _flat(models.random_params(_CONFIG))


def test_the_arrays_are_openpis_to_the_bit_from_any_device(tmp_path):
  # Its file of shardings names a GPU that is not here.
  text = (models.CHECKPOINT / 'params' / '_sharding').read_text()
  assert 'cuda:0' in text
  with np.load(models.REFERENCE / 'pi05_tiny.npz') as file:
    config = models.of_reference(str(file['config']), 'bfloat16')
  weights = checkpoint.read(models.CHECKPOINT, config)
  assert all(x.dtype == jnp.bfloat16 for x in _flat(weights.params).values())
  # Its values are exact in bfloat16, so a copy has the same digest.
  checkpoint.write(tmp_path / 'again', weights.params, wrap=False)
  again = checkpoint.read(tmp_path / 'again', config)
  assert again.digest == weights.digest
  for name, x in _flat(weights.params).items():
    np.testing.assert_array_equal(x, _flat(again.params)[name])


def test_the_digest_follows_every_array(tmp_path, flat):
  checkpoint.write(tmp_path / 'a', _nested(flat))
  names = [min(flat), max(flat), 'PaliGemma/llm/layers/mlp/linear']
  digests = [checkpoint.read(tmp_path / 'a', _CONFIG).digest]
  for i, name in enumerate(names):
    array = np.array(flat[name])
    array.flat[-1] += 0.5
    checkpoint.write(tmp_path / str(i), _nested(flat | {name: array}))
    digests.append(checkpoint.read(tmp_path / str(i), _CONFIG).digest)
  assert len(set(digests)) == 4


@pytest.mark.parametrize('wrap', [True, False])
def test_leaves_may_end_with_value(tmp_path, flat, wrap):
  checkpoint.write(tmp_path, _nested(flat), wrap=wrap)
  found = _flat(checkpoint.read(tmp_path, _CONFIG).params)
  assert found.keys() == flat.keys()
  for name, x in flat.items():
    np.testing.assert_array_equal(found[name], x)


def test_lora_is_merged_and_types_may_be_mixed(tmp_path, flat):
  rng = np.random.default_rng(0)
  more = {
    name: rng.normal(size=spec.shape).astype(np.float32)
    for name, spec in lora_arrays(_CONFIG, 2, 3).items()
  }
  frozen = 'PaliGemma/llm/layers/mlp/linear'
  stored = flat | more | {frozen: flat[frozen].astype(jnp.bfloat16)}
  checkpoint.write(tmp_path, _nested(stored))
  found = _flat(checkpoint.read(tmp_path, _CONFIG).params)
  assert found.keys() == flat.keys()
  for name in flat:
    expected = stored[name]
    if lora_names(name)[0] in more:
      a, b = (more[x] for x in lora_names(name))
      expected = lora.merge(name, expected, a, b)
    np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)


def _without(flat, name):
  return {key: x for key, x in flat.items() if key != name}


@pytest.mark.parametrize(
  'change, sentence',
  [
    (
      lambda flat: _without(flat, _WORD),
      f'missing are {_WORD}, unknown none',
    ),
    (
      lambda flat: flat | {'head/kernel': np.ones(3, np.float32)},
      'missing are none, unknown head/kernel',
    ),
    (
      lambda flat: flat | {_WORD: flat[_WORD][:, 1:]},
      rf'sizes: {_WORD} \(16, 15\), not \(16, 16\)',
    ),
    (
      lambda flat: flat | {_WORD: np.ones((16, 16), np.int32)},
      f'must be floats: {_WORD} int32',
    ),
    (
      lambda flat: flat | {_WORD: np.full((16, 16), np.inf, np.float32)},
      f'must be finite: {_WORD} in .*',
    ),
    (  # one factor without the other
      lambda flat: (
        flat
        | {
          name: np.ones(spec.shape, np.float32)
          for name, spec in lora_arrays(_CONFIG, 2, 0).items()
          if name.endswith('q_einsum/lora_a')
        }
      ),
      'unknown PaliGemma/llm/layers/attn/q_einsum/lora_a',
    ),
  ],
)
def test_other_arrays_are_refused_by_name(tmp_path, flat, change, sentence):
  checkpoint.write(tmp_path, _nested(change(flat)))
  with pytest.raises(ValueError, match=sentence):
    checkpoint.read(tmp_path, _CONFIG)


def test_weights_of_the_other_family_are_refused(tmp_path):
  other = models.small_model('pi0')
  checkpoint.write(tmp_path, models.random_params(other))
  with pytest.raises(ValueError, match="for pi05, .* are of pi0: .*'pi0'"):
    checkpoint.read(tmp_path, _CONFIG)
  with pytest.raises(ValueError, match='for pi0, .* are of pi05'):
    checkpoint.read(models.CHECKPOINT, other)


def test_weights_of_other_sizes_are_refused():
  with pytest.raises(ValueError, match="configuration's sizes: .* and .* more"):
    checkpoint.read(models.CHECKPOINT, _CONFIG)


def test_a_folder_that_is_no_checkpoint_is_refused_with_what_to_give(tmp_path):
  with pytest.raises(ValueError, match='no such folder'):
    checkpoint.find(tmp_path / 'none')
  with pytest.raises(ValueError, match='with params and assets'):
    checkpoint.find(tmp_path)
  with pytest.raises(ValueError, match=f'the folder above it, {tmp_path}'):
    copy = tmp_path / 'params'
    shutil.copytree(models.CHECKPOINT / 'params', copy)
    checkpoint.find(copy)
  (tmp_path / 'run' / '999' / 'params').mkdir(parents=True)
  with pytest.raises(ValueError, match='folder of a step, such as .*999'):
    checkpoint.find(tmp_path / 'run')
  (tmp_path / 'torch').mkdir()
  (tmp_path / 'torch' / 'model.safetensors').touch()
  with pytest.raises(ValueError, match='a PyTorch model'):
    checkpoint.find(tmp_path / 'torch')


def test_arrays_that_orbax_cannot_read_are_refused(tmp_path):
  (tmp_path / 'params').mkdir()
  with pytest.raises(ValueError, match="arrays that Orbax wrote .*'params'"):
    checkpoint.read(tmp_path, _CONFIG)
  with ocp.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / 'b' / 'params', {'weights': np.ones(2)})
  with pytest.raises(ValueError, match="arrays that Orbax wrote .*'params'"):
    checkpoint.read(tmp_path / 'b', _CONFIG)


def test_a_checkpoint_that_lost_a_file_is_refused(tmp_path):
  copy = tmp_path / 'step'
  shutil.copytree(models.CHECKPOINT, copy)
  files = (copy / 'params' / 'ocdbt.process_0' / 'd').iterdir()
  max(files, key=lambda file: file.stat().st_size).unlink()
  with np.load(models.REFERENCE / 'pi05_tiny.npz') as file:
    config = models.of_reference(str(file['config']), 'float32')
  with pytest.raises(ValueError, match='must be readable: params/.*Copy the'):
    checkpoint.read(copy, config)


def test_a_checkpoint_is_not_written_over(tmp_path, flat):
  (tmp_path / 'params').mkdir()
  with pytest.raises(ValueError, match='must not hold weights yet'):
    checkpoint.write(tmp_path, _nested(flat))
