"""Learning: losses, the train state and the fused update."""

from rlt_jax.update.beta import beta_advice, beta_report, reference_variance
from rlt_jax.update.config import UpdateConfig
from rlt_jax.update.state import init, TrainState
from rlt_jax.update.step import jit_update, Metrics, update

__all__ = [
  'Metrics',
  'TrainState',
  'UpdateConfig',
  'beta_advice',
  'beta_report',
  'init',
  'jit_update',
  'reference_variance',
  'update',
]
