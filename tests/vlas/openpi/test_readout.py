"""The prefix's own loss reaches what the flow's does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas.openpi import model, readout
from tests.vlas.openpi import models


def test_it_trains_the_last_block_and_the_final_norm():
  config = models.small_model('pi05', action_dim=3)
  params = models.random_params(config)
  rng = np.random.default_rng(0)
  inputs = model.ModelInputs(
    images=rng.integers(0, 256, (2, 1, 28, 28, 3)).astype(np.uint8),
    image_mask=np.ones((2, 1), bool),
    prompt=rng.integers(1, 9, (2, 5)).astype(np.int32),
    state=np.zeros((2, 3), np.float32),
  )
  motion = rng.normal(size=(2, 6)).astype(np.float32)
  norm = readout.measure(motion)
  own = readout.init(jax.random.key(0), config, cameras=1)
  own['out'] = jnp.full_like(own['out'], 0.1)

  @jax.jit
  @jax.grad
  def gradient(params):
    prefix = model.run_prefix(params, inputs, config)
    return readout.loss(own, prefix, motion, norm)

  llm = gradient(params)['PaliGemma']['llm']
  last = llm['layers']['attn']['q_einsum']['w'][-1]
  for x in (last, llm['final_norm']['scale']):
    assert jnp.abs(x).max() > 1e-6


def test_targets_that_no_one_knows_are_refused():
  with pytest.raises(ValueError, match='prefix_weight must be 0'):
    readout.measure(None)
