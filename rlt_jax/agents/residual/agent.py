"""A bounded residual on the VLA's chunk, after PLD (arXiv 2511.00091).

The executed chunk is the reference plus at most `bound` in each entry. The
policy reads the reference; the critics value the sum. Its mean begins as zero,
so the agent begins as the VLA. The critics learn from the VLA's roll-outs
first, with Cal-QL's conservative term, then half of every batch is of these.
"""

import jax.numpy as jnp

from rlt_jax import replay
from rlt_jax.agents import networks
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.agents.residual import calibration
from rlt_jax.agents.residual.config import ResidualConfig
from rlt_jax.agents.sac.update import (
  Actions,
  make_agent,
  observe_state,
  Sac,
  View,
)
from rlt_jax.types import Array, Features, Params, PRNGKey


def make(config: ResidualConfig, sizes: Sizes) -> Agent:
  """Builds the agent; see `agents.agent.Agent`."""
  moving = networks.moving_entries(sizes)
  dim = sizes.chunk_size * len(moving)

  def observe(view: View) -> Array:
    base = networks.flatten(view.reference, moving)
    return jnp.concatenate([observe_state(view), base], axis=-1)

  actions = Actions(
    dim=dim,
    observe=observe,
    decode=lambda u, view: (
      networks.flatten(view.reference, moving) + config.bound * u
    ),
    executed=lambda rows: networks.flatten(rows.action_chunk, moving),
  )
  sac = Sac(
    config=config,
    sizes=sizes,
    actions=actions,
    zero_mean=True,
    actor_starts=config.pretrain_updates,
  )
  sac = calibration.with_conservatism(sac, config)

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    view = View(features.z_rl, features.proprio, features.reference)
    u = sac.squashed(params, view, key, explore)
    u = u.reshape(len(u), sizes.chunk_size, len(moving))
    # Resting entries stay as the VLA has them.
    return jnp.asarray(features.reference).at[..., moving].add(config.bound * u)

  row = replay.transition_spec(*sizes[:4])
  return make_agent(
    sac,
    row_spec=row,
    act=act,
    vla_share=config.vla_share,
  )
