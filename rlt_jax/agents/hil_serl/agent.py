"""HIL-SERL's learner (arXiv 2410.21845).

Soft actor-critic from scratch: the policy does not read the VLA's chunk. Half
of every batch is prior data, as in RLPD (arXiv 2302.02948): the roll-outs of
the VLA, and what a person drove. Where nobody demonstrates and helps (the
settings `human`) this is not the published method, but its learner.
"""

import jax.numpy as jnp

from rlt_jax import replay
from rlt_jax.agents import networks
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.agents.hil_serl.config import HilSerlConfig
from rlt_jax.agents.sac.update import (
  Actions,
  make_agent,
  observe_state,
  Sac,
  View,
)
from rlt_jax.types import Array, Features, Params, PRNGKey, Transition


def make(config: HilSerlConfig, sizes: Sizes) -> Agent:
  """Builds the agent; see `agents.agent.Agent`."""
  moving = networks.moving_entries(sizes)
  steps = 1 if config.hold else sizes.chunk_size
  dim = steps * len(moving)

  def executed(rows: Transition) -> Array:
    chunk = rows.action_chunk
    if config.hold:
      # Also for what the VLA drove, whose steps differ.
      chunk = jnp.mean(chunk, axis=1, keepdims=True)
    return networks.flatten(chunk, moving)

  sac = Sac(
    config=config,
    sizes=sizes,
    actions=Actions(
      dim=dim,
      observe=observe_state,
      decode=lambda u, view: config.bound * u,
      executed=executed,
    ),
  )

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    view = View(features.z_rl, features.proprio, None)
    u = sac.squashed(params, view, key, explore)
    u = config.bound * u.reshape(len(u), steps, len(moving))
    shape = len(u), sizes.chunk_size, len(moving)
    chunk = jnp.zeros((*shape[:2], sizes.action_dim))
    return chunk.at[..., moving].set(jnp.broadcast_to(u, shape))

  row = replay.transition_spec(*sizes[:4])
  return make_agent(
    sac,
    row_spec=row._replace(ref_chunk=None, next_ref_chunk=None),
    act=act,
    vla_share=config.vla_share,
  )
