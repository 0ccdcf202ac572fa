"""Objects that all runs of one process share."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import numpy as np

from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.signals import StopRequest
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup

_REFERENCE_SAMPLES = 8  # R, see `Shared`


class Shared(NamedTuple):
  """Objects shared by all runs of one process.

  setup: task, VLA with its token, and agent. evaluator: runs policies.
  stop: asked between the rounds and during evaluations.
  sample_references: () -> the VLA's chunks [R, B, C, A], sampled R times at the
    same B states; the same for every seed, computed once.
  demonstrations: what the VLA learned from; None if that is not known.
  """

  setup: TaskSetup
  evaluator: evaluator_lib.Evaluator
  stop: StopRequest
  sample_references: Callable[[], np.ndarray]
  demonstrations: Episodes | None


def make_shared(
  setup: TaskSetup,
  config: PracticeConfig,
  stop: StopRequest,
  assets: str = '',
) -> Shared:
  """Builds the objects shared by the runs of one process.

  Args:
    setup, stop: see `Shared`.
    config: of the runs; its seed is not used.
    assets: folder with vla/ and token/; empty for the shipped ones.
  """
  evaluator = setup_lib.make_evaluator(setup, config)

  @functools.cache
  def sample_references() -> np.ndarray:
    # The evaluator's batch size, so that nothing new is compiled.
    worlds = evaluator.initial_states(evaluator.sizes.large)
    chunks = [
      setup.perception.perceive(worlds, jax.random.PRNGKey(i)).reference
      for i in range(_REFERENCE_SAMPLES)
    ]
    return np.stack(chunks)[:, :, : config.chunk_size]

  return Shared(
    setup=setup,
    evaluator=evaluator,
    stop=stop,
    sample_references=sample_references,
    demonstrations=assets_lib.demonstrations(
      assets, config.vla, setup.task.spec
    ),
  )
