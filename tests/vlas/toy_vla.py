"""A VLA from outside the package: mean colors as tokens, noise as actions."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import two_arm_bench
from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput, VlaSpec

_CAMERAS, _SIDE = ('base', 'wrist_left', 'wrist_right'), 4


class ToyVla(FrozenVla):
  """Reads the Ethernet task's cameras; its chunks tremble around the pose."""

  def __init__(self, width: int):
    self.spec = VlaSpec(
      cameras=_CAMERAS,
      image_size=64,
      proprio_dim=28,
      prompt_length=1,
      num_tokens=len(_CAMERAS) * _SIDE**2 + 1,
      token_dim=width,
      horizon=20,
      action_dim=14,
      joint_names=two_arm_bench.JOINTS,
      control_hz=50.0,
      action_mode='offset',
      action_scale=(0.001,) * 14,
      fingerprint=f'toy-{width}',
    )
    self.params = jax.random.normal(jax.random.key(0), (3, width))

  def apply_with_noise(self, params, observation, noise):
    images = jnp.stack([observation.images[c] for c in _CAMERAS], 1)
    rows, patch = len(images), 64 // _SIDE
    patches = images.reshape(rows, -1, _SIDE, patch, _SIDE, patch, 3)
    image_tokens = patches.mean((3, 5)).reshape(rows, -1, 3) / 255.0 @ params
    prompt = observation.prompt[:, :, None] * jnp.ones(self.spec.token_dim)
    tokens = jnp.concatenate([image_tokens, prompt / 100.0], axis=1)
    mask = jnp.ones(tokens.shape[:2], bool)
    image_mask = mask.at[:, -1].set(False)
    return VlaOutput(tokens, mask, image_mask, 0.1 * noise)

  def tokenize(self, text):
    if not text.strip():
      raise ValueError(f'The instruction must not be empty: {text!r}.')
    return np.array([1 + zlib.crc32(text.encode()) % 99], np.int32)

  def proprio_stats(self):
    return ProprioStats(jnp.zeros(28), jnp.full(28, 0.5))


def make(width: str = '32') -> ToyVla:
  """Returns the VLA of --vla=tests.vlas.toy_vla:make[:WIDTH]."""
  return ToyVla(int(width))
