"""Settings of a run that its features read."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.rollout import perception
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from tests.giving_up import given_up


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


def test_a_resnet_stands_in_for_the_token(config, assets, monkeypatch):
  rng = np.random.default_rng(0)

  def pictures(task, rollout_fns, size):
    del rollout_fns  # resets take long to compile
    yield {
      camera: rng.integers(0, 255, (size, 64, 64, 3)).astype(np.uint8)
      for camera in task.spec.cameras
    }

  monkeypatch.setattr(setup_lib, '_start_pictures', pictures)
  config = dataclasses.replace(config, token_ablation='resnet10_sim')
  setup = setup_lib.make(config, str(assets))
  z_dim = len(setup.task.spec.cameras) * 2 * 2 * 512
  assert setup.perception.z_dim == setup.embedder.spec.z_dim == z_dim
  with given_up() as compiling:
    monkeypatch.setattr(setup_lib, 'ResNetEmbedder', compiling)
    setup_lib.make(config, str(assets))
  # The agent of the run is as wide.
  actor = jax.tree.leaves(setup.agent.init(jax.random.PRNGKey(0)))
  assert any(x.ndim == 2 and x.shape[0] >= z_dim for x in actor)


@pytest.mark.parametrize(
  'name, changes, rule',
  [
    (
      'dsrl',
      {'reference_fault': 'noise'},
      "not choose the VLA's noise: 'dsrl'",
    ),
    ('best_of_n', {'vla': 'ws://a:1'}, "takes_noise.*: 'ws://a:1' does not"),
    (
      'hil_serl',
      {'num_env_steps': 100_000},
      'hold all rows .* prior data, 50000: 30000',
    ),
  ],
)
def test_an_agent_that_cannot_be_served_is_refused(name, changes, rule):
  config = dataclasses.replace(
    PracticeConfig(), agent_name=name, agent=registry.config_class(name)(),
    **changes,
  )  # fmt: skip
  agent = registry.make(name, config.agent, Sizes(3, 3, 10, 3, (), 20))
  spec = types.SimpleNamespace(takes_noise='vla' not in changes)
  embedder = types.SimpleNamespace(spec=spec)
  with pytest.raises(ValueError, match=rule):
    setup_lib._check_agent(agent, embedder, config)
  for name in changes:
    fine = getattr(PracticeConfig(), name)
    config = dataclasses.replace(config, **{name: fine})
  spec.takes_noise = True
  setup_lib._check_agent(agent, embedder, config)
