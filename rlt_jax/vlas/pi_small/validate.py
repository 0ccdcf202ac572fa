"""Measures a VLA on frames of demonstrations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Observation, Params
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import model, objective
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig

_NEAR = 0.015  # m from the demo's end: lined up over the mouth, or in it


@functools.partial(jax.jit, static_argnames=('config', 'loss'))
def _evaluate(params, batch, scale, key, *, config, loss):
  loss_key, sample_key = jax.random.split(key)
  _, metrics = objective.loss(
    params, batch, loss_key, config=config, train=loss
  )
  observation = Observation(batch.images, batch.proprio, batch.prompt)
  noise = jax.random.normal(sample_key, batch.chunk.shape)
  chunk, out = model.sample(params, observation, noise, config=config)
  norm, motion = params['norm'], batch.remaining_motion
  prediction = model.predict_targets(params, out, config=config)
  prediction = prediction * norm.target_std + norm.target_mean
  error = (prediction - objective.targets(motion, config=config))[:, :6]
  near = jnp.linalg.norm(motion[:, :3], axis=-1, keepdims=True) < _NEAR
  squares = {'near_share': near}
  for i, name in enumerate(('tip', 'turn')):
    entries = slice(3 * i, 3 * i + 3)
    squares[f'readout_{name}_rms'] = jnp.square(error[:, entries])
    squares[f'near_{name}_rms'] = jnp.square(error[:, entries]) * near
    squares[f'still_{name}_rms'] = jnp.square(motion[:, entries])
  # After a fifth, half and all of the chunk, in steps counted from 1.
  H = config.horizon
  for step in (max(1, H // 5), max(1, H // 2), H):
    actual, asked = chunk[:, step - 1], batch.chunk[:, step - 1]
    squares[f'chunk_{step}_rms'] = jnp.square((actual - asked) * scale)
    squares[f'still_{step}_rms'] = jnp.square(asked * scale)
  # A sum, for the mean over batches of one size to be exact.
  return metrics, {name: x.mean() for name, x in squares.items()}


def evaluate(
  params: Params,
  demos: demos_lib.Demos,
  rows: np.ndarray,
  *,
  config: PiConfig,
  loss: LossConfig,
  batch_size: int = 64,
  max_rows: int = 512,
) -> dict[str, float]:
  """Measures losses, and errors in m and rad an axis, over some frames.

  'readout_tip_rms', 'readout_turn_rms' and 'chunk_<step>_rms' (one sampled
  chunk against the demo; joints, grippers in m) stand beside 'still_*': the
  error of predicting no motion. 'near_*' are of frames within 15 mm of the end.

  Args:
    params: with 'norm'.
    demos: frames and action scale.
    rows: [R] frames to use, spread evenly if more than `max_rows`.
    config, loss: static; images are not augmented.
    batch_size: frames at once; a remainder is left out if R allows.
    max_rows: bounds the time this takes.
  """
  if len(rows) > max_rows:
    rows = rows[np.linspace(0, len(rows) - 1, max_rows).astype(int)]
  size = min(batch_size, len(rows))
  scale = jnp.asarray(demos.action_scale, jnp.float32)
  results = []
  for i in range(len(rows) // size):
    batch = demos_lib.take(demos.frames, rows[i * size : (i + 1) * size])
    results.append(
      _evaluate(
        params, batch, scale, jax.random.key(i), config=config, loss=loss
      )
    )
  metrics, squares = jax.tree.map(lambda *x: float(np.mean(x)), *results)
  near = squares.pop('near_share')
  for name in ('near_tip_rms', 'near_turn_rms'):
    squares[name] /= max(near, 1e-9)
  return metrics | {name: float(np.sqrt(x)) for name, x in squares.items()}
