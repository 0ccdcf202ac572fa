"""Settings of practice that a robot's bundle decides.

A learner whose chunks, delay, discount or networks are not the bundle's is
refused, so it takes them from there.
"""

import dataclasses

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.export import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.training.config import PracticeConfig

_PRACTICE = (
  'chunk_size', 'inference_delay', 'replay_stride', 'gamma',
  'intervention_reference',
)  # fmt: skip
_AGENT = (
  'hidden_dims', 'frozen_action_dims', 'reference_input', 'exploration_std',
  'exploration_noise',
)  # fmt: skip


def assignments(spec: BundleSpec, agent_name: str) -> list[str]:
  """Returns the bundle's settings as `config.override` reads them.

  Args:
    spec: of the bundle.
    agent_name: see `registry.config_class`; an agent of one's own may lack some
      of the fields.

  Raises:
    ValueError: there is no such agent.
  """
  fields = dataclasses.fields(registry.config_class(agent_name))
  own = {x.name for x in fields}
  names = [(name, name) for name in _PRACTICE]
  names += [(f'agent.{name}', name) for name in _AGENT if name in own]
  found = [f'{path}={_text(getattr(spec, name))}' for path, name in names]
  # Of simulation: they do not matter here, and yet must be multiples.
  config = PracticeConfig()
  for path, value in (
    ('open_loop_steps', config.open_loop_steps),
    ('task.time_limit', config.task.time_limit),
  ):
    if value % spec.chunk_size:
      found.append(f'{path}={spec.chunk_size * (value // spec.chunk_size + 1)}')
  return found


def check(spec: BundleSpec, agent: Agent, config: PracticeConfig) -> None:
  """Raises ValueError, by name, if bundle and learner differ."""
  bundle_lib.check_policy(spec, agent)
  if config.human.present:
    raise ValueError(
      'human.demo_steps and human.help_minutes must be 0 for an arm, which a '
      f'real person helps: {config.human.demo_steps}, '
      f'{config.human.help_minutes}.'
    )
  for name in _PRACTICE:
    own, other = getattr(config, name), getattr(spec, name)
    if own != other:
      raise ValueError(f"{name} must be the bundle's {other}: {own}.")
  for name in ('token_ablation', 'reference_fault'):
    if (value := getattr(config, name)) != 'none':
      raise ValueError(
        f'{name} must be none for an arm, whose journal holds the token and '
        f"the VLA's chunks: {value!r}."
      )


def sizes_of(spec: BundleSpec) -> Sizes:
  """Returns the sizes of the agent that a bundle holds."""
  return Sizes(
    spec.z_dim,
    spec.proprio_dim,
    spec.chunk_size,
    spec.action_dim,
    spec.frozen_action_dims,
  )


def _text(value) -> str:
  if isinstance(value, tuple):
    return f'({",".join(map(str, value))})'
  return str(value)
