"""What embeds frames in a moment: the colors of quarters of a picture."""

import jax
import jax.numpy as jnp

from rlt_jax.rl_token.teacher import Teacher
from rlt_jax.vlas.vla import VlaSpec


class LightTeacher(Teacher):
  """Four tokens of six entries a frame, which hold both cameras' colors."""

  def __init__(self, demos):
    frames = demos.frames
    self._cameras = tuple(frames.images)
    self.spec = VlaSpec(
      cameras=self._cameras,
      image_size=16,
      proprio_dim=frames.proprio.shape[1],
      prompt_length=frames.prompt.shape[1],
      num_tokens=4,
      token_dim=6,
      horizon=frames.chunk.shape[1],
      action_dim=frames.chunk.shape[2],
      fingerprint='light',
      **demos.action_facts(),
    )
    self._embed = jax.jit(_colors)

  def embed(self, frames):
    tokens = self._embed([frames.images[name] for name in self._cameras])
    return tokens, jnp.ones(tokens.shape[:2], bool)


def _colors(images):
  quarters = [x.reshape(-1, 2, 8, 2, 8, 3).mean((2, 4)) for x in images]
  tokens = jnp.concatenate(quarters, axis=-1) / 255.0
  return tokens.reshape(len(tokens), 4, 6)
