"""An agent of one's own: adds a learned offset to the VLA's chunk."""

import dataclasses

import jax
import jax.numpy as jnp

from rlt_jax import replay
from rlt_jax.agents.agent import Agent, AgentConfig, Sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class OffsetConfig(AgentConfig):
  exploration_std: float = 0.3  # normalized action units
  learning_rate: float = 0.1


def make(config: OffsetConfig, sizes: Sizes) -> Agent:
  def init(key):
    offset = jnp.zeros((sizes.chunk_size, sizes.action_dim))
    return {'offset': offset, 'updates': jnp.int32(0), 'key': key}

  def update(state, replay_state, sample):
    key, sample_key = jax.random.split(state['key'])
    rows = sample(replay_state, sample_key)
    # What was done beyond the reference, weighted by the reward it brought.
    beyond = rows.action_chunk - rows.ref_chunk - state['offset']
    step = jnp.mean(rows.reward[:, None, None] * beyond, axis=0)
    offset = state['offset'] + config.learning_rate * step
    finite = jnp.all(jnp.isfinite(offset)).astype(jnp.float32)
    return (
      {'offset': offset, 'updates': state['updates'] + 1, 'key': key},
      {'offset_rms': jnp.sqrt(jnp.mean(offset**2)), 'finite': finite},
    )

  def act(offset, features, key, explore):
    noise = jax.random.normal(key, features.reference[:, :1].shape)
    return (
      features.reference + offset + config.exploration_std * explore * noise
    )

  return Agent(
    config=config,
    batch_size=config.batch_size,
    updates_per_dispatch=1,
    row_spec=replay.transition_spec(*sizes[:4]),
    init=init,
    update=update,
    num_updates=lambda state: state['updates'],
    policy_params=lambda state: state['offset'],
    act=act,
  )
