import jax
import numpy as np

from rlt_jax.vlas.pi_small import vision


def test_the_summary_reaches_every_image_token_from_any_patch(config):
  net = vision.Summary(config.summary_widths)
  patches = np.random.default_rng(0).normal(
    size=(1, config.num_image_tokens, config.prefix_width)
  )
  params = net.init(jax.random.key(0), patches)
  assert not np.asarray(net.apply(params, patches)).any()
  params['params']['out']['kernel'] = np.ones_like(
    params['params']['out']['kernel']
  )
  for token in range(config.num_image_tokens):
    other = patches.copy()
    other[0, token] += 1.0
    change = net.apply(params, other) - net.apply(params, patches)
    assert np.abs(change).min() > 1e-6, token
