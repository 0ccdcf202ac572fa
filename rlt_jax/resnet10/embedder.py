"""Puts the map of a ResNet-10 in the place of the RL token."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.resnet10.network import ResNet10
from rlt_jax.serving.embedder import Embedder, Embedding
from rlt_jax.types import Array, Params

# Of the mean deviation: an entry that hardly differs between start states must
# not become huge where it does.
_FLOOR = 0.1


class ResNetEmbedder(Embedder):
  """A VLA beside a frozen trunk, whose maps of all cameras are z_rl.

  Actor and critics read the whole maps, [cameras * (S / 32)**2 * 512], so that
  their first layers are the trained head that SERL has. Each entry is centered
  and divided by its deviation over start states.
  """

  def __init__(
    self,
    vla: Embedder,
    params: Params,
    pictures: Iterable[Mapping[str, Array]],
  ):
    """Measures the statistics.

    Args:
      vla: gives reference and proprioception; its token is left out.
      params: of `network.ResNet10`.
      pictures: batches of start states, camera -> uint8 [B, S, S, 3], with all
        cameras of the VLA.
    """
    self._vla, self._params = vla, params
    self._maps = jax.jit(_maps)
    seen = [np.asarray(self._read(images)) for images in pictures]
    self._mean, self._std = measure(np.concatenate(seen))
    self.spec = dataclasses.replace(vla.spec, z_dim=len(self._mean))
    self.token_metrics, self.takes_joints = {}, vla.takes_joints

  def embed(self, images, proprio, prompt, key, joints=None):
    """See `Embedder.embed`."""
    return self._see(self._vla.embed, images, proprio, prompt, key, joints)

  def embed_each(self, images, proprio, prompt, keys, joints=None):
    """See `Embedder.embed_each`."""
    embed = self._vla.embed_each
    return self._see(embed, images, proprio, prompt, keys, joints)

  def sample(self, images, proprio, prompt, noise, joints=None):
    """See `Embedder.sample`."""
    return self._vla.sample(images, proprio, prompt, noise, joints)

  def check_instruction(self, text: str) -> None:
    """See `Embedder.check_instruction`."""
    self._vla.check_instruction(text)

  def _see(self, embed: Callable[..., Embedding], images, *args) -> Embedding:
    z = (self._read(images) - self._mean) / self._std
    return embed(images, *args)._replace(z_rl=z)

  def _read(self, images: Mapping[str, Array]) -> Array:
    """Returns the maps [B, Z] of all cameras, in the order of the VLA's."""
    found = [
      self._maps(self._params, images[name]) for name in self._vla.spec.cameras
    ]
    return jnp.concatenate(found, axis=-1)


def measure(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and deviation of each entry of maps [F, Z].

  Raises:
    ValueError: maps that never differ.
  """
  std = maps.std(0)
  if not std.any():
    raise ValueError(
      f'The maps of start states must differ: {len(maps)} are the same.'
    )
  return maps.mean(0), np.maximum(std, _FLOOR * std.mean())


def _maps(params: Params, images: Array) -> Array:
  found = ResNet10().apply({'params': params}, images)
  return found.reshape(len(images), -1)
