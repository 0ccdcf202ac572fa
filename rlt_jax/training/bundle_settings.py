"""Settings of practice that a robot's bundle decides.

A learner whose chunks, delay, discount or networks are not the bundle's is
refused, so it takes them from there.
"""

import dataclasses

from rlt_jax.agents import registry
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


def _text(value) -> str:
  if isinstance(value, tuple):
    return f'({",".join(map(str, value))})'
  return str(value)
