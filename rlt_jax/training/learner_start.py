"""Where the learner of an arm begins: untrained, or with a run's agent."""

from collections.abc import Iterator, Mapping, Sequence
import os
from typing import Any

import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.export import checkpoint
from rlt_jax.robot.policy.bundle import BundleSpec


def _agent_settings(
  own: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
  """Yields each setting of the agents of two checkpoints: name, own, other."""
  own, other = own['config'], other['config']
  yield 'agent_name', own['agent_name'], other['agent_name']
  for name in sorted(own['agent'].keys() | other['agent'].keys()):
    # A bundle names the entries, a run may leave them to the task.
    if name != 'frozen_action_dims':
      yield f'agent.{name}', own['agent'].get(name), other['agent'].get(name)


def agent_state(
  fresh: Any,
  *,
  agent: Agent,
  start: str | os.PathLike[str],
  spec: BundleSpec,
  layers: Sequence[np.ndarray],
  meta: Mapping[str, Any],
) -> Any:
  """Returns the agent's state that a new learner begins with.

  The learner publishes weights before the first episode of practice, so an
  untrained one would replace the trained actor of a bundle.

  Args:
    fresh: an untrained state.
    agent: of the learner.
    start: workdir of the run that the bundle was exported from; '' for none.
    spec, layers: of the bundle, see `bundle.load`.
    meta: of the learner's checkpoints: its config and fingerprints.

  Raises:
    ValueError: a bundle of a practiced actor without its run, another agent
      than the run's, or a checkpoint that is not the one of the bundle.
    OSError: there is no such run.
  """
  if not start:
    steps = spec.practiced_steps
    if steps:
      raise ValueError(
        'A learner begins with an untrained actor unless --start names the run '
        'that the bundle was exported from: the bundle has an actor of '
        f'{steps} control steps of practice.'
      )
    return fresh
  restored = checkpoint.restore(
    start,
    fresh,
    part='learner/agent',
    expected_meta={'fingerprints': meta['fingerprints']},
  )
  for name, own, other in _agent_settings(meta, restored.meta):
    if own != other:
      raise ValueError(f'{name} must be that of the run, {other!r}: {own!r}.')
  found = agent.mlp_policy.layers(agent.policy_params(restored.state))
  if not all(map(np.array_equal, found, layers)):
    raise ValueError(
      'The bundle must be exported from the newest checkpoint of --start, '
      f'{restored.env_steps} control steps: {spec.run}.'
    )
  return restored.state
