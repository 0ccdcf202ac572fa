"""RLT's agent: networks, losses, train state and the fused update."""

from rlt_jax.agents.rlt.beta import beta_advice, beta_report, reference_variance
from rlt_jax.agents.rlt.config import UpdateConfig
from rlt_jax.agents.rlt.fused_update import jit_update, Metrics, update
from rlt_jax.agents.rlt.networks import (
  act,
  Actor,
  AgentConfig,
  Critic,
  draw_exploration_noise,
  make_networks,
  Networks,
  zero_frozen_dims,
)
from rlt_jax.agents.rlt.train_state import init, TrainState

__all__ = [
  'Actor',
  'AgentConfig',
  'Critic',
  'Metrics',
  'Networks',
  'TrainState',
  'UpdateConfig',
  'act',
  'beta_advice',
  'beta_report',
  'draw_exploration_noise',
  'init',
  'jit_update',
  'make_networks',
  'reference_variance',
  'zero_frozen_dims',
  'update',
  'zero_frozen_dims',
]
