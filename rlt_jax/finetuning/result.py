"""The report of a fine-tuning run, with the fields of a practice run's."""

import dataclasses
import json
from typing import Any, Protocol

import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.reporting import provenance, report, statistics
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.run_folder import Record
from rlt_jax.training.setup import TaskSetup


class Run(Protocol):
  """What a report needs of a run; see `finetune_run.FinetuneRun`."""

  workdir: Any
  config: PracticeConfig
  finetuning: FinetuneConfig
  stages: Record
  record: Record
  setup: TaskSetup

  def minutes(self, number: int) -> str:
    """Returns the robot minutes at the end of a round."""

  def seconds(self) -> dict[str, float]:
    """Returns the wall-clock seconds so far by part."""


def write_report(run: Run, *, assets: str, command: str, commit: str) -> None:
  """Writes report.json, report.md and their pictures.

  Args:
    run: finished.
    assets: folder with vla/ and token/; empty for the shipped ones.
    command: that ran it.
    commit: of the code.
  """
  spec, config = run.setup.task.spec, run.config
  along = [report.Evaluation(0.0, run.record.episodes('base'))]
  for number in range(run.finetuning.rounds):
    mark = run.minutes(number)
    episodes = run.record.episodes(f'mean@{mark}')
    along.append(report.Evaluation(float(mark), episodes))
  data = report.ReportData(
    base=run.record.episodes('base'),
    final=along[-1].mean,
    robot_minutes=along[-1].robot_minutes,
    control_hz=spec.control_hz,
    outcomes=spec.outcomes,
    demonstrations=assets_lib.demonstrations(assets, config.vla, spec),
    along=along,
    config=json.loads(config_lib.to_json(config)),
    versions=provenance.versions(),
    wall_clock_s={name: round(s, 1) for name, s in run.seconds().items()},
    device=provenance.device(),
    commit=commit,
    command=command,
    extra=summarize(run, spec.control_hz, spec.outcomes),
  )
  report.write_report(run.workdir, data)
  report.print_table(data)
  print(f'Report: {run.workdir / "report.md"}', flush=True)


def summarize(
  run: Run, control_hz: float, outcomes: tuple[str, ...]
) -> dict[str, Any]:
  """Returns the parts of report.json on what the rounds took and left.

  'practice' and 'human' are as in a practice run, with `vla_updates`, gradient
  steps of all trainings. 'finetuning' has the settings, and of each round what
  was collected and the flow loss on held-out frames.
  """
  rounds, stages = range(run.finetuning.rounds), run.stages.data
  collected = [stages[f'collected-{x}'] for x in rounds]
  trained = [stages[f'trained-{x}'] for x in rounds]
  ended = statistics.pool(
    [statistics.from_plain(x['episodes']) for x in collected]
  )
  extra = {
    'practice': {
      'episodes': len(ended.success),
      'outcomes': statistics.count_outcomes(ended, outcomes),
      'critic_updates': sum(x['critic_updates'] for x in collected),
      'vla_updates': sum(x.get('updates', 0) for x in trained),
    },
    'finetuning': {
      'settings': dataclasses.asdict(run.finetuning),
      'demonstrations': len(stages['demonstrations']['outcome']),
      'rounds': [
        _round(found, result)
        for found, result in zip(collected, trained, strict=True)
      ],
    },
  }
  human = sum(x['human_steps'] for x in collected)
  return extra | ({'human': {'human_s': human / control_hz}} if human else {})


def _round(found: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
  """Returns the numbers of one round."""
  lengths = found['stretch_steps']
  return {
    'env_steps': found['env_steps'],
    'human_steps': found['human_steps'],
    'stretches': found['stretches'],
    'median_stretch_steps': float(np.median(lengths)) if lengths else None,
    'trained': result['trained'],
    'held_out': result.get('held_out', {}),
    'value': result.get('value', {}),
  }
