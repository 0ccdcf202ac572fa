"""Agents by name, or as 'module:function'."""

import dataclasses

import pytest

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Agent, AgentConfig, Sizes
from rlt_jax.agents.imitation.config import ImitationConfig
from rlt_jax.agents.rlt import RltConfig
from tests.agents import toy_agent

_SIZES = Sizes(5, 4, 4, 3)


@pytest.mark.parametrize(
  'name, config',
  [
    ('rlt', RltConfig),
    ('imitation', ImitationConfig),
    ('tests.agents.toy_agent:make', toy_agent.OffsetConfig),
  ],
)
def test_an_agent_is_opened_by_its_name(name, config):
  assert registry.config_class(name) is config
  agent = registry.make(name, config(batch_size=16), _SIZES)
  assert isinstance(agent, Agent)
  assert agent.batch_size == 16
  assert agent.config == config(batch_size=16) or name == 'rlt'


def no_agent(config: AgentConfig, sizes: Sizes) -> int:
  return 3


@dataclasses.dataclass(frozen=True)
class _Plain:
  batch_size: int = 64


def plain_config(config: _Plain, sizes: Sizes) -> Agent:
  raise NotImplementedError


@pytest.mark.parametrize(
  'name, message',
  [
    ('ppo', r"one of \['best_of_n', .*'rlt'\].*'ppo'"),
    ('no.such.module:make', "can be imported: 'no.such.module:make'"),
    ('tests.agents.toy_agent:mak', "has no 'mak'"),
    ('tests.agents.test_registry:plain_config', 'AgentConfig: .* _Plain'),
  ],
)
def test_what_is_no_agent_is_refused(name, message):
  with pytest.raises(ValueError, match=message):
    registry.config_class(name)


def test_a_function_that_returns_something_else_is_refused():
  name = 'tests.agents.test_registry:no_agent'
  with pytest.raises(ValueError, match='returned an int'):
    registry.make(name, AgentConfig(), _SIZES)
