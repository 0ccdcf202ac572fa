"""The map of a ResNet-10 in the place of the token."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.resnet10 import embedder as embedder_lib
from rlt_jax.serving.embedder import Embedder, Embedding


@dataclasses.dataclass(frozen=True)
class _Spec:
  cameras: tuple[str, ...] = ('wrist', 'base')
  z_dim: int = 3


class _Vla(Embedder):
  """Answers with the sum of what it was asked."""

  spec, takes_joints, token_metrics = _Spec(), True, {'fve': 1.0}

  def embed(self, images, proprio, prompt, key, joints=None):
    size = len(proprio)
    reference = jnp.full((size, 2, 2), joints.sum())
    return Embedding(jnp.zeros((size, 3)), proprio + 1.0, reference)

  def embed_each(self, images, proprio, prompt, keys, joints=None):
    return self.embed(images, proprio, prompt, keys[0], joints)

  def sample(self, images, proprio, prompt, noise, joints=None):
    return noise * 2.0

  def check_instruction(self, text):
    raise ValueError(text)


@pytest.fixture
def seen(monkeypatch):
  """Maps are the picture's mean color and its square, without a network."""

  def maps(params, images):
    mean = images.astype(jnp.float32).mean((1, 2))
    return params * jnp.concatenate([mean, mean**2], axis=1)

  monkeypatch.setattr(embedder_lib, '_maps', maps)
  rng = np.random.default_rng(0)
  pictures = [
    {
      name: rng.integers(0, 255, (4, 8, 8, 3)).astype(np.uint8)
      for name in ('base', 'wrist')
    }
    for _ in range(3)
  ]
  return embedder_lib.ResNetEmbedder(_Vla(), 1.0, pictures), pictures


def test_z_is_standardized_over_start_states(seen):
  embedder, pictures = seen
  assert embedder.spec.z_dim == 12 and embedder.takes_joints
  assert embedder.spec.cameras == ('wrist', 'base')
  asked = np.ones((4, 2)), 'insert', jax.random.key(0), np.ones((4, 4))
  found = [embedder.embed(images, *asked) for images in pictures]
  z = np.concatenate([x.z_rl for x in found])
  np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-4)
  # Squares vary most; the floor leaves the means' deviation below 1.
  np.testing.assert_allclose(z[:, 3:6].std(0), 1.0, atol=1e-4)
  assert (z[:, :3].std(0) < 1.0).all()
  # The order of cameras is that of the VLA, not of the pictures.
  swapped = {'base': pictures[0]['wrist'], 'wrist': pictures[0]['base']}
  other = embedder.embed(swapped, *asked).z_rl
  assert not np.allclose(other, found[0].z_rl)
  # What the VLA says is left alone.
  np.testing.assert_array_equal(found[0].proprio, np.full((4, 2), 2.0))
  np.testing.assert_array_equal(found[0].reference, np.full((4, 2, 2), 16.0))
  keys = jax.random.split(jax.random.key(0), 2)
  each = embedder.embed_each(pictures[0], asked[0], 'insert', keys, asked[3])
  np.testing.assert_array_equal(each.z_rl, found[0].z_rl)


def test_the_rest_is_the_vlas(seen):
  embedder, pictures = seen
  noise = np.ones((4, 1, 2, 2))
  chunks = embedder.sample(pictures[0], np.ones((4, 2)), 'insert', noise)
  np.testing.assert_array_equal(chunks, 2.0 * noise)
  with pytest.raises(ValueError, match='gibberish'):
    embedder.check_instruction('gibberish')


def test_maps_that_never_differ_are_refused():
  with pytest.raises(ValueError, match='must differ: 5 are the same'):
    embedder_lib.measure(np.ones((5, 3)))
