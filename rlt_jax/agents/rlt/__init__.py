"""RLT's agent: networks, losses, train state and the fused update."""

from rlt_jax.agents.rlt.agent import make
from rlt_jax.agents.rlt.config import RltConfig
from rlt_jax.agents.rlt.fused_update import update
from rlt_jax.agents.rlt.networks import (
  act,
  draw_exploration_noise,
  make_networks,
  Networks,
  zero_frozen_dims,
)
from rlt_jax.agents.rlt.train_state import init, TrainState

__all__ = [
  'Networks',
  'RltConfig',
  'TrainState',
  'act',
  'draw_exploration_noise',
  'init',
  'make',
  'make_networks',
  'update',
  'zero_frozen_dims',
]
