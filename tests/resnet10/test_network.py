"""The trunk has SERL's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.resnet10 import network


def test_the_trunk_has_the_size_of_serls():
  images = jnp.zeros((2, 64, 64, 3), jnp.uint8)
  net = network.ResNet10()
  params = jax.eval_shape(net.init, jax.random.key(0), images)
  # Summed layer by layer from the published architecture.
  sizes = [np.prod(x.shape) for x in jax.tree.leaves(params)]
  assert sum(sizes) == 4_905_792
  maps = jax.eval_shape(net.apply, params, images)
  assert maps.shape == (2, 2, 2, 512)
  large = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.uint8)
  assert jax.eval_shape(net.apply, params, large).shape == (1, 4, 4, 512)


@pytest.mark.parametrize('side, stride, size', [
  (4, 1, 3), (4, 2, 3), (2, 1, 3), (4, 2, 1), (3, 2, 3),
])  # fmt: skip
def test_a_product_is_the_convolution(side, stride, size):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, side, side, 3)).astype(np.float32)
  kernel = rng.normal(size=(size, size, 3, 5)).astype(np.float32)
  wanted = jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), 'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )  # fmt: skip
  found = network._multiply(jnp.asarray(x), jnp.asarray(kernel), stride)
  np.testing.assert_allclose(found, wanted, atol=1e-4)
