"""Advice on an agent's settings during a run; it never ends the run."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlt_jax.agents.agent import Agent, Diagnosis
from rlt_jax.reporting.statistics import Episodes

_NO_SUCCESS = (
  'No success seen yet: warm up longer. Critics that have seen no reward are '
  '0 everywhere, and the actor learns nothing from them. Start again with a '
  'larger vla_warmup_steps, or with a VLA that succeeds more often.'
)


def advise(
  agent: Agent,
  metrics: Mapping[str, Any],
  episodes: Episodes,
  sample_references: Callable[[], np.ndarray],
) -> Diagnosis | None:
  """Returns the agent's diagnosis of its settings; None if it has none.

  Args:
    agent: of the run.
    metrics: of a round that made updates.
    episodes: ended so far. Without a success among them the text says so in
      place of the agent's, whose numbers mean little then.
    sample_references: () -> chunks [R, B, C, A], see `Agent.diagnose`.
  """
  if agent.diagnose is None:
    return None
  try:
    found = agent.diagnose(metrics, sample_references())
  except Exception as error:  # an agent's own code may raise anything
    return Diagnosis(
      'The agent cannot judge its settings, and the run goes on: '
      f'{type(error).__name__}: {error}',
      {},
    )
  if not np.any(episodes.success):
    return found._replace(text=_NO_SUCCESS)
  return found
