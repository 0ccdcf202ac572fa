"""Policies to evaluate: the frozen VLA alone, or the agent of a run."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import NamedTuple

from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import experiment, practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig


class Evaluation(NamedTuple):
  """An evaluator and the policies to run on it, by name.

  control_hz: control steps per second of the task.
  """

  evaluator: evaluator_lib.Evaluator
  policies: Mapping[str, evaluator_lib.Policy]
  control_hz: float


def of_base(
  config: PracticeConfig, horizons: Sequence[int], assets: str, seed: int
) -> Evaluation:
  """Returns the frozen VLA as a policy for each of its open-loop horizons.

  Args:
    config: of the task and the VLA.
    horizons: control steps of a chunk that run before the next query.
    assets: folder with vla/ and token/; empty for the shipped ones.
    seed: of the start states.

  Raises:
    ValueError: a horizon that does not fit the chunks or the VLA.
  """
  setup = setup_lib.make(config, assets)
  for horizon in horizons:
    assets_lib.check_fit(
      setup.embedder.spec,
      dataclasses.replace(config, open_loop_steps=horizon),
      setup.task.spec,
    )
  return Evaluation(
    setup_lib.make_evaluator(setup, config, seed),
    {f'base, {h} steps': evaluator_lib.base_policy(h) for h in horizons},
    setup.task.spec.control_hz,
  )


def of_run(workdir: pathlib.Path, assets: str, seed: int) -> Evaluation:
  """Returns the agent of a run's newest checkpoint, without and with noise.

  Args:
    workdir: of the run.
    assets: as the run had it.
    seed: of the start states.

  Raises:
    ValueError: a run of other assets or of another version.
    OSError: no run in the workdir.
  """
  config = experiment.read_config(workdir)
  run = practice_run.PracticeRun(
    workdir=workdir, config=config, resume=True, assets=assets
  ).experiment
  return Evaluation(
    setup_lib.make_evaluator(run.shared.setup, config, seed),
    {'mean': run.policy(explore=False), 'exploring': run.policy(explore=True)},
    run.shared.setup.task.spec.control_hz,
  )
