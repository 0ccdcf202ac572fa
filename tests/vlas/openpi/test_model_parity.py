"""openpi's own outputs, on random weights of tiny sizes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas.openpi import model
from rlt_jax.vlas.openpi.config import SLOTS
from tests.vlas.openpi import parity

_EXACT = 1e-4  # absolute, float32


@pytest.mark.parametrize('family', parity.FAMILIES)
def test_every_output_equals_openpis(family):
  case = parity.load(family, 'float32')
  pairs = parity.compare(case)
  names = {n.removeprefix('out/') for n in case.arrays if n.startswith('out/')}
  names -= {'prefix_mask', 'actions_bf16'}  # compared below
  assert {n.removesuffix('_every_16th') for n in names} == set(pairs)
  for name, pair in pairs.items():
    assert pair.ours.shape == pair.openpis.shape, name
    assert pair.largest() < _EXACT, name


@pytest.mark.parametrize('family', parity.FAMILIES)
def test_bfloat16_is_as_close_as_openpis_own(family):
  case = parity.load(family, 'bfloat16')
  one = jax.tree.map(lambda x: x[:1], case.inputs)
  noise = case.arrays['in/noise'][:1]

  @jax.jit
  def run(params):
    prefix = model.run_prefix(params, one, case.config)
    chunk = model.sample(params, prefix, one.state, noise, config=case.config)
    return prefix, chunk

  prefix, chunk = run(case.params)
  assert prefix.tokens.dtype == jnp.bfloat16 and chunk.dtype == jnp.float32
  mask, rows = case.arrays['out/prefix_mask'][0], case.arrays['rows']
  np.testing.assert_array_equal(prefix.mask[0], mask)
  assert not np.asarray(prefix.tokens[0], np.float32)[~mask].any()
  seen = mask[rows]
  tokens = np.asarray(prefix.tokens, np.float32)[0, rows]
  for pair, limit in (
    (parity.Pair(tokens[seen], case.arrays['out/prefix_out'][0][seen]), 0.02),
    (parity.Pair(chunk[0], case.arrays['out/actions'][0]), 0.01),
    (parity.Pair(chunk[0], case.arrays['out/actions_bf16'][0]), 0.01),
  ):
    assert pair.relative() < limit


def test_the_reference_data_name_their_camera_slots():
  config = json.loads(str(parity.read('pi0_tiny.npz')['config']))
  assert tuple(config['cameras']) == SLOTS


def test_the_tables_of_lora_and_transforms_are_of_equal_numbers():
  pytest.importorskip('sentencepiece')
  layers = parity.compare_lora()
  assert set(layers) == {*parity.ATTENTION, 'mlp'}
  assert all(0.0 <= x.largest() < 1e-5 for x in layers.values())
  for family in parity.FAMILIES:
    pairs = parity.compare_transforms(family)
    assert pairs.pop('words').largest() == 0
    assert ('bins' in pairs) == (family == 'pi05')
    assert all(pair.largest() < 1e-6 for pair in pairs.values()), pairs
    assert all(np.ptp(pair.ours) > 0 for pair in pairs.values())
  assert parity.compare_picture().largest() == 0
