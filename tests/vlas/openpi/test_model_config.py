import dataclasses
import json

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas.openpi import model
from rlt_jax.vlas.openpi.model_config import (
  arrays,
  ExpertConfig,
  lora_arrays,
  ModelConfig,
  TowerConfig,
)
from tests.vlas.openpi import models

_SHAPES = json.loads((models.REFERENCE / 'param_shapes.json').read_text())
_RANKS = {'': (0, 0), '_lora': (16, 32)}  # openpi's LoRA ranks


@pytest.mark.parametrize('lora', ['', '_lora'])
@pytest.mark.parametrize('family', ['pi0', 'pi05'])
def test_every_name_and_shape_is_that_of_openpis_full_size(family, lora):
  config = ModelConfig(family=family)
  tree = jax.eval_shape(
    lambda key: model.init_params(key, config), jax.random.key(0)
  )
  flat = flax.traverse_util.flatten_dict(tree, sep='/')
  found = {name: list(leaf.shape) for name, leaf in flat.items()}
  for name, spec in lora_arrays(config, *_RANKS[lora]).items():
    found[name] = list(spec.shape)
  assert found == _SHAPES['models'][family + lora]


@pytest.mark.parametrize(
  'family, millions', [('pi0', 3238.0), ('pi05', 3353.4)]
)
def test_a_full_size_query_traces_without_weights(family, millions):
  config = ModelConfig(family=family)
  params = {
    name: jax.ShapeDtypeStruct(spec.shape, jnp.bfloat16)
    for name, spec in arrays(config).items()
  }
  count = sum(np.prod(x.shape, dtype=float) for x in params.values())
  assert count / 1e6 == pytest.approx(millions, abs=0.1)
  params = flax.traverse_util.unflatten_dict(params, sep='/')
  length = 48 if family == 'pi0' else 200
  shape = jax.ShapeDtypeStruct
  inputs = model.ModelInputs(
    shape((2, 3, 224, 224, 3), np.uint8),
    shape((2, 3), bool),
    shape((2, length), np.int32),
    shape((2, 32), np.float32),
  )

  def query(params, inputs, noise):
    prefix = model.run_prefix(params, inputs, config)
    return prefix, model.sample(
      params, prefix, inputs.state, noise, config=config
    )

  noise = shape((2, 50, 32), np.float32)
  prefix, chunk = jax.eval_shape(query, params, inputs, noise)
  assert prefix.tokens.shape == (2, 768 + length, 2048)
  assert prefix.tokens.dtype == prefix.cache.keys.dtype == jnp.bfloat16
  assert prefix.cache.keys.shape == (18, 2, 768 + length, 1, 256)
  assert chunk.shape == (2, 50, 32) and chunk.dtype == jnp.float32


@pytest.mark.parametrize(
  'make, sentence',
  [
    (lambda: ModelConfig(family='pi1'), 'family must be one of'),
    (lambda: ModelConfig(dtype='float16'), 'dtype must be one of'),
    (lambda: TowerConfig(width=100), 'multiple of num_heads'),
    (lambda: TowerConfig(patch=13), 'multiple of patch'),
    (lambda: ExpertConfig(head_dim=7), 'even head_dim'),
    (lambda: ExpertConfig(mlp_dim=0), 'mlp_dim must be positive: 0'),
    (lambda: ModelConfig(prefix=ExpertConfig(depth=4)), 'the same depth'),
    (lambda: ModelConfig(action_dim=0), 'action_dim must be positive'),
  ],
)
def test_sizes_that_cannot_be_are_refused(make, sentence):
  with pytest.raises(ValueError, match=sentence):
    make()


def test_initial_values_are_of_unit_scale():
  config = models.small_model('pi05')
  params = model.init_params(jax.random.key(0), config)
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  for name, spec in arrays(config).items():
    x = np.asarray(flat[name])
    assert x.shape == spec.shape
    if not spec.deviation:
      assert np.unique(x) == (spec.deviation is None), name
    else:
      assert x.std() == pytest.approx(spec.deviation, rel=0.5), name


def test_groups_of_heads_share_a_key_head():
  shared = models.small_model('pi0')
  two = {'num_kv_heads': 2}
  config = dataclasses.replace(
    shared,
    prefix=dataclasses.replace(shared.prefix, **two),
    expert=dataclasses.replace(shared.expert, **two),
  )
  spec = arrays(config)['PaliGemma/llm/layers/attn/kv_einsum/w']
  assert spec.shape == (3, 2, 2, 32, 8)
