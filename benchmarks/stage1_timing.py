"""Times steps of Stage 1 on random frames."""

import dataclasses
import functools

import jax
import numpy as np

from benchmarks import timing
from rlt_jax.rl_token import stage1, train
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.vlas.demo_source import MemorySource
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.vla import FrozenVla


def make_frames(vla: FrozenVla, episodes: int) -> Demos:
  """Returns random frames, 50 an episode, that the VLA can read."""
  spec, rng = vla.spec, np.random.default_rng(0)
  count, side = 50 * episodes, spec.image_size
  chunk = (count, spec.horizon, spec.action_dim)
  images = {
    name: rng.integers(0, 255, (count, side, side, 3), np.uint8)
    for name in spec.cameras
  }
  frames = DemoBatch(
    images=images,
    proprio=rng.normal(size=(count, spec.proprio_dim)).astype(np.float32),
    prompt=np.tile(vla.tokenize('insert the plug'), (count, 1)),
    chunk=np.zeros(chunk, np.float32),
    chunk_valid=np.ones(chunk[:2], bool),
    remaining_motion=None,
    episode=np.repeat(np.arange(episodes, dtype=np.int32), 50),
  )
  return Demos(
    frames=frames,
    action_mode=spec.action_mode,
    action_scale=spec.action_scale,
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
  )


def make_contender(
  vla: FrozenVla, config: Stage1Config, cache: str
) -> timing.Contender:
  """Returns what trains for some steps from the beginning of the order.

  Args:
    vla: that embeds.
    config: settings; its cache is not read.
    cache: see `Stage1Config`.
  """
  config = dataclasses.replace(config, cache=cache)
  source = MemorySource(make_frames(vla, config.episodes))
  prepared = stage1.prepare(vla, source, config)
  moments = train.measure_tokens(prepared.data)
  key = jax.random.key(0)
  state = train.init_state(key, moments, config=prepared.token_config)
  step = jax.jit(
    functools.partial(train.train_step, config=prepared.token_config)
  )

  def call():
    now = state
    for batch in prepared.data.batches(0):
      now, metrics = step(now, batch, key)
    jax.block_until_ready(metrics)

  return timing.Contender(cache, config.steps, call)
