"""The squashed Gaussian: tanh of a Gaussian with learned mean and sigma."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from rlt_jax.agents.networks import Mlp
from rlt_jax.types import Array, PRNGKey

_MIN_STD, _MAX_STD = 1e-5, 5.0  # as of SERL


class Policy(nn.Module):
  """Maps observations to mean and log sigma of D entries before squashing.

  zero_mean: whether the mean begins as zero at every observation.
  """

  hidden_dims: tuple[int, ...]
  dim: int
  init_std: float
  zero_mean: bool = False

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    """Maps [..., in] to mean [..., D] and log sigma [..., D]."""
    mean = Mlp(
      self.hidden_dims, self.dim, zero_output=self.zero_mean, name='mean'
    )(x)
    log_std = Mlp(self.hidden_dims, self.dim, zero_output=True, name='std')(x)
    log_std = log_std + jnp.log(self.init_std)
    return mean, jnp.clip(log_std, jnp.log(_MIN_STD), jnp.log(_MAX_STD))


def draw(mean: Array, log_std: Array, key: PRNGKey) -> tuple[Array, Array]:
  """Draws squashed actions and their log densities.

  Args:
    mean, log_std: [..., D].
    key: consumed.

  Returns:
    u [..., D] in (-1, 1), and log p(u) [...], summed over the entries.
  """
  noise = jax.random.normal(key, mean.shape)
  return squash(mean + jnp.exp(log_std) * noise, noise, log_std)


def squash(x: Array, noise: Array, log_std: Array) -> tuple[Array, Array]:
  """Returns tanh(x) and its log density, x being mean + sigma * noise."""
  gaussian = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
  # log(1 - tanh(x)^2), exact for large |x|.
  slope = 2.0 * (jnp.log(2.0) - x - jax.nn.softplus(-2.0 * x))
  return jnp.tanh(x), jnp.sum(gaussian - slope, axis=-1)
