"""RLT's agent: networks, losses, train state and the fused update.

The names are imported on first use, so that the settings (`config`) can be read
without JAX.
"""

import importlib
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
  'Networks': 'networks',
  'RltConfig': 'config',
  'TrainState': 'train_state',
  'act': 'networks',
  'draw_exploration_noise': 'networks',
  'init': 'train_state',
  'make': 'agent',
  'make_networks': 'networks',
  'update': 'fused_update',
  'zero_frozen_dims': 'networks',
}
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


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
