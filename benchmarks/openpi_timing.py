"""Times queries of π0 and π0.5 with random weights."""

import dataclasses
import time

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from rlt_jax.vlas.openpi import checkpoint, cost, model, openpi_vla, statistics
from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi.model_config import arrays, ModelConfig

_SHRINK = 16


def shrink(config: ModelConfig) -> ModelConfig:
  """Returns the same structure with narrow widths and two layers."""

  def smaller(part, **more):
    return dataclasses.replace(
      part,
      width=part.width // _SHRINK,
      mlp_dim=part.mlp_dim // _SHRINK,
      depth=2,
      **more,
    )

  return dataclasses.replace(
    config,
    tower=smaller(config.tower, num_heads=4),
    prefix=smaller(config.prefix, head_dim=16),
    expert=smaller(config.expert, head_dim=16),
    vocabulary=1024,
  )


def random_params(config: ModelConfig):
  """Draws the weights on the device, an array at a time."""
  draw = jax.jit(
    lambda key, shape, scale: (
      scale * jax.random.normal(key, shape, config.dtype)
    ),
    static_argnums=(1, 2),
  )
  keys = jax.random.split(jax.random.key(0), len(arrays(config)))
  flat = {
    name: draw(key, spec.shape, spec.deviation or 0.02)
    for key, (name, spec) in zip(keys, arrays(config).items(), strict=True)
  }
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def random_vla(
  config: config_lib.OpenpiConfig, *, tiny: bool = False
) -> openpi_vla.OpenpiVla:
  """Returns a VLA of random weights and statistics that reads letters.

  Args:
    config: of the VLA.
    tiny: whether to `shrink` its model.
  """
  if tiny:
    config = dataclasses.replace(config, model=shrink(config.model))
  rng, entries = np.random.default_rng(0), len(config.joints)
  return openpi_vla.make(
    config,
    checkpoint.Weights(random_params(config.model), 'random'),
    statistics.measure(*rng.normal(0.0, 0.3, (2, 400, entries))),
    openpi_vla.make_prompter(config, lambda text: [3 + ord(x) for x in text]),
    b'letters',
  )


def measure(
  config: config_lib.OpenpiConfig, params, rows: int, queries: int
) -> dict[str, float]:
  """Times queries of `rows` observations, one after the other."""
  sizes = config.model
  rng = np.random.default_rng(0)
  _, inputs, noise = cost.abstract_query(config, rows)
  inputs = model.ModelInputs(
    images=rng.integers(0, 256, inputs.images.shape).astype(np.uint8),
    image_mask=np.ones(inputs.image_mask.shape, bool),
    prompt=rng.integers(1, sizes.vocabulary, inputs.prompt.shape),
    state=rng.normal(size=inputs.state.shape).astype(np.float32),
  )
  inputs = jax.device_put(inputs._replace(prompt=np.int32(inputs.prompt)))
  noise = jax.random.normal(jax.random.key(1), noise.shape)

  @jax.jit
  def query(params, inputs, noise):
    prefix = model.run_prefix(params, inputs, sizes)
    chunk = model.sample(
      params,
      prefix,
      inputs.state,
      noise,
      config=sizes,
      steps=config.flow_steps,
    )
    return prefix.tokens, chunk

  start = time.perf_counter()
  tokens, chunk = jax.block_until_ready(query(params, inputs, noise))
  first_s = time.perf_counter() - start
  if not (jnp.isfinite(tokens).all() and jnp.isfinite(chunk).all()):
    raise ValueError('The outputs of random weights must be finite.')
  times = []
  for _ in range(queries):
    start = time.perf_counter()
    jax.block_until_ready(query(params, inputs, noise))
    times.append(1e3 * (time.perf_counter() - start))
  p50, p99 = np.percentile(times, [50, 99])
  return {
    'rows': rows,
    'p50_ms': float(p50),
    'p99_ms': float(p99),
    'worst_ms': max(times),
    'first_s': first_s,
    'peak_gb': timing.peak_bytes() / 1e9,
  }
