"""A dense layer over inputs that come in parts, cheaper backward."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array

# Uniform in +-1/sqrt(fan in): a third of the variance of Linen's default, so
# that a fresh actor moves by about a third of a normalized unit, not by one.
_KERNEL_INIT = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


@jax.custom_vjp
def _product(parts: tuple[Array, ...], kernel: Array) -> Array:
  """Multiplies inputs, in parts [..., K_i], by the kernel [sum of K_i, N]."""
  return jnp.concatenate(parts, axis=-1) @ kernel


def _product_forward(parts, kernel):
  return _product(parts, kernel), (parts, kernel)


def _product_backward(residuals, grad):
  parts, kernel = residuals
  ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
  inputs = jnp.concatenate(parts, axis=-1)
  return (
    # One product for each part. The compiler drops those that nobody reads:
    # the actor step needs the gradient of the chunk, not that of z_rl, which
    # is most of the input. Autodiff of a concatenation computes all of them.
    tuple(grad @ rows.T for rows in jnp.split(kernel, ends)),
    jnp.einsum('...k,...n->kn', inputs, grad),
  )


_product.defvjp(_product_forward, _product_backward)


class SplitDense(nn.Module):
  """Linen's Dense over inputs [..., K_i], with the params of one Dense.

  Separate Dense layers for the parts would also drop the products, but they
  run one product a part forward and do not give the same bits.
  """

  width: int

  @nn.compact
  def __call__(self, *parts: Array) -> Array:
    """Maps parts [..., K_i] to [..., width]."""
    inputs = sum(part.shape[-1] for part in parts)
    kernel = self.param('kernel', _KERNEL_INIT, (inputs, self.width))
    bias = self.param('bias', nn.initializers.zeros_init(), (self.width,))
    return _product(parts, kernel) + bias
