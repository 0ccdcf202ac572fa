"""Runs the seeds of a row, each in a folder of its own.

ROW/seed-N is a complete workdir: it can be evaluated, filmed, exported or
continued alone. A finished seed is skipped, a stopped one continues, and one
whose numbers were no longer finite stays as it ended.
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

import jax

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.comparison.gates import DIVERGED_FILE
from rlt_jax.comparison.rows import Row
from rlt_jax.export import checkpoint
from rlt_jax.finetuning import finetune_run, methods
from rlt_jax.finetuning.finetune_run import FinetuneRun
from rlt_jax.training import run_folder
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.practice_run import PracticeRun

NEW, BEGUN, FINISHED, DIVERGED = 'new', 'begun', 'finished', 'diverged'
ENDED = (FINISHED, DIVERGED)  # never run again


def folder_of(workdir: pathlib.Path, row: Row, seed: int) -> pathlib.Path:
  """Returns the folder of a seed."""
  return workdir / row.name / f'seed-{seed}'


def seeds_in(workdir: pathlib.Path, row: Row) -> list[int]:
  """Returns the seeds of a row that a comparison has begun, in order."""
  found = (workdir / row.name).glob(f'seed-*/{run_folder.CONFIG_FILE}')
  names = (path.parent.name.removeprefix('seed-') for path in found)
  return sorted(int(name) for name in names if name.isdecimal())


def state_of(
  folder: pathlib.Path, row: Row, config: PracticeConfig, seed: int
) -> str:
  """Returns how far a seed is: NEW, BEGUN, FINISHED or DIVERGED.

  Args:
    folder: of the seed; it may not exist.
    row: of the seed.
    config: of the row.
    seed: of the run.

  Raises:
    ValueError: the folder has a run with other settings, named.
  """
  if not (folder / run_folder.CONFIG_FILE).exists():
    return NEW
  wanted = dataclasses.replace(config, seed=seed)
  found = run_folder.read_config(folder)
  for path, values in config_lib.differences(found, wanted).items():
    old, new = map(config_lib.spell, values)
    raise ValueError(
      f'The settings of a comparison must not change: {folder} has '
      f'{path}={old}, not {new}. Give another --workdir.'
    )
  if row.finetuning is not None:
    _check_method(folder, row)
  if (folder / DIVERGED_FILE).exists():
    return DIVERGED
  if (folder / 'report.json').exists():
    return FINISHED
  if row.finetuning is not None:
    return BEGUN if (folder / finetune_run.STAGES_FILE).exists() else NEW
  return BEGUN if checkpoint.latest(folder) is not None else NEW


def _check_method(folder: pathlib.Path, row: Row) -> None:
  """Raises ValueError if a run's VLA is trained with other settings."""
  path = folder / finetune_run.METHOD_FILE
  found = files.read_json(path, ('settings',))['settings']
  for name, wanted in dataclasses.asdict(row.finetuning).items():
    if found.get(name) != wanted:
      raise ValueError(
        f'The settings of a comparison must not change: {folder} has '
        f'finetuning.{name}={found.get(name)}, not {wanted}. Give another '
        '--workdir.'
      )


def check_parts(row: Row, config: PracticeConfig, assets: str) -> None:
  """Raises ValueError for a row that the VLA or the task at hand cannot run.

  Args:
    row: of the comparison.
    config: of the row.
    assets: folder with vla/ and token/; empty for the shipped ones.
  """
  if row.finetuning is None:
    setup_lib.make(config, assets)
  else:
    methods.check(config, row.finetuning, assets)


def open_seed(
  folder: pathlib.Path,
  row: Row,
  config: PracticeConfig,
  *,
  assets: str,
  command: str,
) -> PracticeRun | FinetuneRun:
  """Opens a seed's run, new or where it was stopped.

  Args:
    folder: of the seed.
    row: of the seed.
    config: of the run, with its seed.
    assets: folder with vla/ and token/; empty for the shipped ones.
    command: recorded in the report.

  Raises:
    ValueError: settings, assets or a folder that do not fit, by name.
    OSError: another process writes there, or this one cannot.
  """
  if row.finetuning is not None:
    return methods.open_run(
      row.finetuning,
      workdir=folder,
      config=config,
      assets=assets,
      command=command,
    )
  return PracticeRun(
    workdir=folder,
    config=config,
    resume=checkpoint.latest(folder) is not None,
    assets=assets,
    command=command,
  )


def run_to_end(run: PracticeRun | FinetuneRun, folder: pathlib.Path) -> None:
  """Runs a seed and writes the report, or what ended the run.

  Args:
    run: of the seed.
    folder: of the seed.

  Raises:
    KeyboardInterrupt: a signal came; what can be continued is saved.
  """
  try:
    run.practice()
    run.report()
  except FloatingPointError as error:
    text = json.dumps({'error': str(error)}) + '\n'
    files.write_atomically(folder / DIVERGED_FILE, text)
    print(f'{folder}: {error}', flush=True)
  finally:
    run.close()
    # The next run has functions of its own; these would stay in memory.
    jax.clear_caches()


def check_same_parts(folders: Sequence[pathlib.Path]) -> None:
  """Raises ValueError unless all runs had the same VLA and token.

  Those of a run that trains the VLA are the ones it starts from.

  Args:
    folders: of runs that reached their end.
  """
  first: dict[str, str] = {}
  for folder in folders:
    method = folder / finetune_run.METHOD_FILE
    if method.exists():
      found = files.read_json(method, ('fingerprints',))['fingerprints']
    else:
      found = checkpoint.find(folder)[1]['fingerprints']
    first = first or found
    if found != first:
      raise ValueError(
        f'The runs of a comparison must have the same VLA and token, {first}: '
        f'{folder} has {found}.'
      )
