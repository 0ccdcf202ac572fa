"""Settings of a run that its features read."""

import dataclasses

import pytest

from rlt_jax.rollout import perception
from rlt_jax.training import setup as setup_lib


@pytest.mark.parametrize(
  'module, field, value',
  [
    ('token_ablations', 'token_ablation', 'zeros'),
    ('reference_faults', 'reference_fault', 'halved'),
  ],
)
def test_a_setting_reaches_the_features(
  config, assets, monkeypatch, module, field, value
):
  module, asked = getattr(perception, module), []
  make = module.make

  def note(name, *args):
    asked.append(name)
    return make(name, *args)

  monkeypatch.setattr(module, 'make', note)
  setup_lib.make(dataclasses.replace(config, **{field: value}), str(assets))
  assert asked == [value]
