"""openpi's LoRA layers equal plain layers with merged weights."""

import jax
import numpy as np
import pytest

from rlt_jax.vlas.openpi import lora
from rlt_jax.vlas.openpi.model_config import arrays, is_adaptable, lora_names
from tests.vlas.openpi import models

_EQUATIONS = {
  'q_einsum': 'btd,ndh->btnh',
  'kv_einsum': 'bsd,ckdh->cbskh',
  'attn_vec_einsum': 'btnh,nhd->btd',
}


@pytest.fixture(scope='module')
def layers():
  with np.load(models.REFERENCE / 'lora_tiny.npz') as file:
    return {key: file[key] for key in file.files}


@pytest.mark.parametrize('name', _EQUATIONS)
def test_merged_attention_equals_openpis(layers, name):
  w, a, b, x, expected = (
    layers[f'{name}/{part}'] for part in ('w', 'lora_a', 'lora_b', 'x', 'out')
  )
  merged = lora.merge(f'PaliGemma/llm/layers/attn/{name}_1/w', w, a, b)
  found = np.einsum(_EQUATIONS[name], x, merged)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert not np.allclose(np.einsum(_EQUATIONS[name], x, w), expected, atol=0.1)


def test_a_merged_mlp_equals_openpis(layers):
  merged = {}
  for name in ('gating_einsum', 'linear'):
    factors = [layers[f'mlp/{name}_lora_{x}'] for x in 'ab']
    merged[name] = lora.merge(f'mlp/{name}', layers[f'mlp/{name}'], *factors)
  gate, up = layers['mlp/x'] @ merged['gating_einsum'][:, None]
  found = (jax.nn.gelu(gate) * up) @ merged['linear']
  np.testing.assert_allclose(found, layers['mlp/out'], atol=1e-5)


def test_factors_are_named_as_openpi_names_them():
  names = [n for n in arrays(models.small_model('pi0')) if is_adaptable(n)]
  assert len(names) == 10
  assert lora_names('a/q_einsum/w') == (
    'a/q_einsum/lora_a',
    'a/q_einsum/lora_b',
  )
  assert lora_names('a/mlp/linear')[1] == 'a/mlp/linear_lora_b'
