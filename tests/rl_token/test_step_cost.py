import dataclasses

import pytest

from rlt_jax.rl_token import step_cost
from rlt_jax.rl_token.config import StepConfig, TokenConfig

_N, _D, _Z, _B = 3, 5, 4, 6
_CONFIG = TokenConfig(
  num_image_tokens=_N, token_dim=_D, width=_Z, num_layers=1, num_heads=2,
  mlp_ratio=2, batch_size=_B,
)  # fmt: skip


def _count() -> int:
  """Counts the weights of encoder and decoder from the paper's parts."""
  norm, square = 2 * _Z, _Z * _Z + _Z
  mlp = (_Z * 2 * _Z + 2 * _Z) + (2 * _Z * _Z + _Z)
  block = 2 * norm + 4 * square + mlp
  project = _D * _Z + _Z
  encoder = project + _Z + (_N + 1) * _Z + block + norm
  decoder = project + _Z + _N * _Z + block + norm + (_Z * _D + _D)
  return encoder + decoder


def test_bytes_of_state_and_gradients_are_those_of_the_weights():
  weights = _count()
  cost = step_cost.measure(_CONFIG, StepConfig())
  assert cost.parameters == weights == 469
  # Weights and two moments in float32; beside them Adam counts its steps.
  assert 0 <= cost.state_bytes - 3 * 4 * weights <= 16
  assert cost.gradient_bytes == 4 * weights
  assert cost.token_bytes == _B * _N * (2 * _D + 1)  # bfloat16, and a mask
  parts = step_cost.measure(_CONFIG, StepConfig(accumulate=2))
  assert parts.gradient_bytes == 2 * 4 * weights
  assert parts.state_bytes == cost.state_bytes
  assert parts.token_bytes == cost.token_bytes
  shared = step_cost.measure(_CONFIG, StepConfig(), devices=2)
  assert shared.token_bytes == cost.token_bytes / 2


def test_remat_keeps_less_and_computes_more():
  config = dataclasses.replace(
    _CONFIG, num_layers=2, num_image_tokens=16, width=32, batch_size=4
  )
  plain, remat = (
    step_cost.measure(config, StepConfig(remat=x)) for x in (False, True)
  )
  assert 0 < remat.kept_bytes < 0.8 * plain.kept_bytes
  assert remat.flop > plain.flop
  assert remat.state_bytes == plain.state_bytes
  half = step_cost.measure(config, StepConfig(accumulate=2))
  assert half.kept_bytes == pytest.approx(plain.kept_bytes / 2, rel=0.05)
  assert half.flop == pytest.approx(plain.flop)
