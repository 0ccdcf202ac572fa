"""RLT as an `Agent`: the method's actor and critics behind the interface."""

from collections.abc import Mapping
import dataclasses
import functools

import jax
import numpy as np

from rlt_jax import replay
from rlt_jax.agents.agent import Agent, Diagnosis, Metrics, MlpPolicy, Sizes
from rlt_jax.agents.rlt import (
  beta,
  fused_update,
  networks,
  q_diagnostics,
  train_state,
)
from rlt_jax.agents.rlt.config import RltConfig
from rlt_jax.agents.rlt.networks import make_networks
from rlt_jax.agents.rlt.train_state import TrainState
from rlt_jax.replay.returns import Experience
from rlt_jax.types import Array, Features, Params, PRNGKey


def make(config: RltConfig, sizes: Sizes) -> Agent:
  """Builds the agent.

  Args:
    config: its settings; frozen_action_dims of None takes those of `sizes`.
    sizes: of the task.

  Raises:
    ValueError: frozen_action_dims lists an entry that there is not, or all.
  """
  if config.frozen_action_dims is None:
    config = dataclasses.replace(
      config, frozen_action_dims=tuple(sizes.frozen_action_dims)
    )
  nets = make_networks(config, *sizes[:4])

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    return networks.act(
      nets, params, features.z_rl, features.proprio, features.reference, key,
      config.exploration_std * explore,
    )  # fmt: skip

  # Compiled once, at its first use.
  judge = jax.jit(functools.partial(q_diagnostics.judge, nets))

  def diagnose_values(
    state: TrainState, experience: Experience
  ) -> Mapping[str, float | None]:
    judged = judge(state, experience.rows, experience.present)
    return q_diagnostics.summarize(jax.device_get(judged), experience)

  return Agent(
    config=config,
    batch_size=config.batch_size,
    updates_per_dispatch=(
      config.cycles_per_dispatch * config.critic_updates_per_actor
    ),
    row_spec=replay.transition_spec(*sizes[:4]),
    init=lambda key: train_state.init(key, nets),
    update=lambda state, replay_state, sample: fused_update.update(
      nets, sample, state, replay_state
    ),
    num_updates=lambda state: state.critic_updates,
    policy_params=lambda state: state.actor_params,
    act=act,
    diagnose=lambda metrics, chunks: diagnose(config, metrics, chunks),
    diagnose_values=diagnose_values,
    mlp_policy=MlpPolicy(
      apply=nets.actor,
      layers=lambda params: actor_layers(params, config, sizes),
      hidden_dims=config.hidden_dims,
      reference_input=config.reference_input,
      frozen_action_dims=config.frozen_action_dims,
      exploration_std=config.exploration_std,
      exploration_noise=config.exploration_noise,
    ),
  )


def diagnose(
  config: RltConfig, metrics: Metrics, references: np.ndarray
) -> Diagnosis:
  """Says whether beta suits the task; see `beta`.

  Args:
    config: of the agent.
    metrics: of updates.
    references: [R, B, C, A], R samples at the same states.
  """
  variance = beta.reference_variance(
    networks.zero_frozen_dims(references, config.frozen_action_dims)
  )
  text = beta.beta_advice(metrics, variance)
  return Diagnosis(
    text or beta.beta_report(metrics, variance),
    {
      'beta': config.beta,
      'reference_variance': variance,
      'ratio': float(metrics['beta_ratio']),
      'distance': beta.distance_in_variances(metrics, variance),
    },
  )


def actor_layers(
  actor_params: Params, config: RltConfig, sizes: Sizes
) -> list[np.ndarray]:
  """Returns the actor's kernels [in, out] and biases [out], alternating.

  The actor has no weights for frozen entries; here they are there, and zero,
  so that a host reads and writes whole chunks.

  Args:
    actor_params: of `Networks.init_actor`, trained.
    config, sizes: of the agent they belong to.
  """
  mlp = actor_params['params']['_Mlp_0']
  layers = []
  for i in range(len(mlp)):
    layers += [mlp[f'Dense_{i}']['kernel'], mlp[f'Dense_{i}']['bias']]
  layers = [np.asarray(x, np.float32) for x in layers]

  def widen(rows: np.ndarray) -> np.ndarray:
    """Returns rows [C * moving entries, ...] as [C * A, ...]."""
    moving = networks.moving_entries(
      config.frozen_action_dims, sizes.action_dim
    )
    if len(rows) != sizes.chunk_size * len(moving):
      raise ValueError(
        f'The actor must have {sizes.chunk_size} steps of {len(moving)} moving '
        f'entries: {len(rows)} rows.'
      )
    wide = np.zeros(
      (sizes.chunk_size, sizes.action_dim, *rows.shape[1:]), np.float32
    )
    wide[:, moving] = rows.reshape(
      (sizes.chunk_size, len(moving), *rows.shape[1:])
    )
    return wide.reshape((-1, *rows.shape[1:]))

  if config.reference_input:
    state = sizes.z_dim + sizes.proprio_dim
    layers[0] = np.concatenate([layers[0][:state], widen(layers[0][state:])])
  # Safetensors writes an array as it lies in memory, whatever its strides say.
  layers[-2] = np.ascontiguousarray(widen(layers[-2].T).T)
  layers[-1] = widen(layers[-1])
  return layers
