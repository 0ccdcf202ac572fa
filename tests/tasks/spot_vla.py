"""A VLA from outside the package for the example task of docs/extending_task.

Mean colors of 16 patches as tokens; it proposes to stay, with some noise.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput, VlaSpec

_WIDTH = 32


class SpotVla(FrozenVla):
  """Reads one camera and two joints."""

  def __init__(self, joint_names, control_hz):
    self.spec = VlaSpec(
      cameras=('top',),
      image_size=64,
      proprio_dim=2,
      prompt_length=1,
      num_tokens=16,
      token_dim=_WIDTH,
      horizon=20,
      action_dim=2,
      joint_names=joint_names,
      control_hz=control_hz,
      action_mode='offset',
      action_scale=(0.005, 0.005),
      fingerprint='spot-1',
    )
    self.params = jax.random.normal(jax.random.key(0), (3, _WIDTH))

  def apply_with_noise(self, params, observation, noise):
    images = observation.images['top']
    patches = images.reshape(len(images), 4, 16, 4, 16, 3).mean((2, 4))
    tokens = patches.reshape(len(images), 16, 3) / 255.0 @ params
    mask = jnp.ones(tokens.shape[:2], bool)
    return VlaOutput(tokens, mask, mask, 0.5 * noise)

  def tokenize(self, text):
    if not text.strip():
      raise ValueError(f'The instruction must not be empty: {text!r}.')
    return np.ones(1, np.int32)

  def proprio_stats(self):
    return ProprioStats(jnp.zeros(2), jnp.full(2, 0.02))


def make():
  """Returns the VLA that fits the task."""
  return SpotVla(('x', 'y'), 50.0)


def make_other_joints():
  """Returns one whose joints are in another order."""
  return SpotVla(('y', 'x'), 50.0)


def make_other_rate():
  """Returns one of another control rate."""
  return SpotVla(('x', 'y'), 20.0)
