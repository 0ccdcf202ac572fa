"""A learner takes from the bundle what must be the bundle's."""

import dataclasses

import pytest

from rlt_jax.agents import registry
from rlt_jax.training import bundle_settings
from rlt_jax.training.config import make_config
from tests.robot.conftest import make_spec

_ODD = make_spec(
  chunk_size=6,
  inference_delay=3,
  replay_stride=3,
  hidden_dims=(8,),
  frozen_action_dims=(),
  reference_input=False,
  exploration_std=0.125,
  exploration_noise='per_step',
  gamma=0.95,
  intervention_reference='vla',
)


def _agent(spec, config):
  sizes = bundle_settings.sizes_of(spec)
  return registry.make(config.agent_name, config.agent, sizes)


@pytest.mark.parametrize('spec', [make_spec(), _ODD])
def test_a_learner_needs_no_settings_of_its_own(spec):
  own = bundle_settings.assignments(spec, 'rlt')
  config = make_config(own)
  bundle_settings.check(spec, _agent(spec, config), config)
  assert config.inference_delay == spec.inference_delay
  assert config.agent.exploration_std == spec.exploration_std


@pytest.mark.parametrize(
  'change', ['inference_delay=0', 'gamma=0.9', 'agent.exploration_std=0.2']
)
def test_what_the_bundle_decides_cannot_be_changed(change):
  own = bundle_settings.assignments(_ODD, 'rlt')
  config = make_config([*own, change])
  name = change.partition('=')[0]
  with pytest.raises(ValueError, match=f"{name} must be the bundle's"):
    bundle_settings.check(_ODD, _agent(_ODD, config), config)


def test_every_setting_that_is_compared_is_taken():
  changed = {
    field.name
    for field in dataclasses.fields(_ODD)
    if getattr(_ODD, field.name) != getattr(make_spec(), field.name)
  }
  texts = bundle_settings.assignments(_ODD, 'rlt')
  taken = {x.partition('=')[0].rpartition('.')[2] for x in texts}
  assert changed == taken - {'open_loop_steps', 'time_limit'}
