"""Opens an agent by its name, or as 'module:function'."""

from rlt_jax import plugins
from rlt_jax.agents.agent import Agent, AgentConfig, Sizes

SHIPPED = {
  'best_of_n': 'rlt_jax.agents.best_of_n.agent:make',
  'dsrl': 'rlt_jax.agents.dsrl.agent:make',
  'hil_serl': 'rlt_jax.agents.hil_serl.agent:make',
  'imitation': 'rlt_jax.agents.imitation.agent:make',
  'residual': 'rlt_jax.agents.residual.agent:make',
  'rlt': 'rlt_jax.agents.rlt.agent:make',
}
_WHAT = 'An agent'


def config_class(name: str) -> type[AgentConfig]:
  """Returns the dataclass of an agent's settings.

  Args:
    name: of `SHIPPED`, or 'module:function' of a function
      (config: SomeDataclass, sizes: Sizes) -> Agent.

  Raises:
    ValueError: it cannot be imported, or has no such config.
  """
  function = plugins.load_object(name, shipped=SHIPPED, what=_WHAT)
  found = plugins.config_class(function, _WHAT)
  plugins.check_parameters(function, ('config', 'sizes'), name, _WHAT)
  if not issubclass(found, AgentConfig):
    raise ValueError(
      f'{_WHAT} must have settings that extend AgentConfig: {name!r} has '
      f'{found.__name__}.'
    )
  return found


def make(name: str, config: AgentConfig, sizes: Sizes) -> Agent:
  """Builds an agent.

  Args:
    name: see `config_class`.
    config: an instance of its dataclass.
    sizes: of the task.

  Raises:
    ValueError: it cannot be imported, or what it returns is no `Agent`.
  """
  function = plugins.load_object(name, shipped=SHIPPED, what=_WHAT)
  agent = function(config=config, sizes=sizes)
  plugins.check_type(agent, Agent, name, _WHAT)
  return agent
