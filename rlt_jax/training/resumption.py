"""Settings of a run that goes on: its own, with the changes that it allows."""

from collections.abc import Sequence
import dataclasses
import os
import pathlib

from rlt_jax import config as config_lib
from rlt_jax.export import checkpoint
from rlt_jax.training import run_folder
from rlt_jax.training.config import CHANGEABLE, PracticeConfig


def resumed_config(
  workdir: str | os.PathLike[str],
  assignments: Sequence[str] = (),
  *,
  task: str = '',
  vla: str = '',
  agent: str = '',
) -> PracticeConfig:
  """Returns the settings in a run's config.json with changes.

  Args:
    workdir: of the run.
    assignments: 'field=value', as `config.override` reads them. A value that
      the run already has may always be given; others only for `CHANGEABLE`.
    task, agent: must be those of the run, or ''.
    vla: where the VLA is now; '' keeps the run's. Its fingerprint is checked
      when the checkpoint is opened.

  Raises:
    ValueError: a setting that does not exist, that a run cannot change, or
      that contradicts what the run has done; each by name.
    OSError: no run in the workdir.
  """
  workdir = pathlib.Path(workdir)
  before = run_folder.read_config(workdir)
  for flag, given, own in (
    ('task', task, before.task_name),
    ('agent', agent, before.agent_name),
  ):
    if given and given != own:
      raise ValueError(
        f'A resumed run keeps its {flag}, {own!r}: --{flag}={given}.'
      )
  changed = config_lib.override(before, assignments)
  if vla:
    changed = dataclasses.replace(changed, vla=vla)
  _check_changes(before, changed)
  _check_history(workdir, before, changed)
  return changed


def _check_changes(before: PracticeConfig, after: PracticeConfig) -> None:
  """Raises ValueError for a setting that decides what was computed so far."""
  for path, values in config_lib.differences(before, after).items():
    if path not in CHANGEABLE:
      old, new = map(config_lib.spell, values)
      raise ValueError(
        f'A resumed run keeps {path}={old}, and can change only '
        f'{", ".join(CHANGEABLE)}: {path}={new}.'
      )


def _check_history(
  workdir: pathlib.Path, before: PracticeConfig, after: PracticeConfig
) -> None:
  """Raises ValueError for a budget or a new mark that is already behind."""
  steps = checkpoint.latest(workdir)
  if steps is None:  # refused where the checkpoint is opened
    return
  end = after.num_env_steps
  if end != before.num_env_steps and end < steps:
    raise ValueError(
      f'num_env_steps must be at least the {steps} control steps that the run '
      f'has made: {end}.'
    )
  record = run_folder.Record(workdir / 'evaluations.json').data
  count, own = after.num_final_episodes, before.num_final_episodes
  if count != own and 'base' in record:
    raise ValueError(
      f'num_final_episodes must stay {own}, in which the VLA was evaluated; '
      f'experiments.evaluate --workdir evaluates more: {count}.'
    )
  done = after.minutes(steps)
  new = set(after.eval_at_minutes) - set(before.eval_at_minutes)
  if late := sorted(m for m in new if m < done and f'mean@{m:g}' not in record):
    raise ValueError(
      f'A new mark of eval_at_minutes must be after the {done:.4g} minutes '
      f'that the run has made: {", ".join(f"{m:g}" for m in late)}.'
    )
