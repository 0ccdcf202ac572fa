"""Runs rows of the comparison one after the other and keeps their table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any, NamedTuple

from rlt_jax import files
from rlt_jax import lock as lock_lib
from rlt_jax.comparison import gates, results, runs, start_gates
from rlt_jax.comparison.rows import Row, ROWS
from rlt_jax.training.config import PracticeConfig

_GATES_FILE = 'gates.json'
_CLAIMS = 'claims'  # a folder whose lock says that a process runs a seed


class RefusedError(Exception):
  """Parts, settings or runs that do not fit, by name."""


class Task(NamedTuple):
  """A row and the settings of its runs."""

  row: Row
  config: PracticeConfig


class Comparison:
  """Rows times seeds in one folder; `experiments/compare.py` shows its use."""

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    rows: Sequence[Row],
    make_config: Callable[[Row], PracticeConfig],
    seeds: Sequence[int],
    resume: bool,
    assets: str = '',
    command: str = '',
  ):
    """Checks the settings of all rows and what the folder has; runs nothing.

    Args:
      workdir: of the comparison. With `resume` it may have runs of the same
        settings, also of other rows and seeds.
      rows: in the order in which they run.
      make_config: gives the settings of a row, without a seed.
      seeds: of each row.
      resume: go on in a folder that has runs.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the reports.

    Raises:
      ValueError: seeds that repeat, a folder of other settings, a gate that
        could not be computed, or practice that ends in the warm-up; by name.
    """
    if not seeds or len(set(seeds)) != len(seeds):
      raise ValueError(f'seeds must be one or more, none twice: {list(seeds)}.')
    if workdir.exists() and not workdir.is_dir():
      raise ValueError(f'workdir must be a folder: {workdir} is a file.')
    if not resume and any(x.name != 'lock' for x in workdir.glob('*')):
      raise ValueError(
        f'workdir must be new (or pass --resume to continue): {workdir}.'
      )
    self._workdir, self._seeds = workdir, tuple(seeds)
    self._make_config = make_config
    self._tasks = [Task(row, make_config(row)) for row in rows]
    self._assets, self._command = assets, command
    for row, config in self._in_folder():
      if config.num_env_steps <= config.vla_warmup_steps:
        raise ValueError(
          'minutes must go beyond the warm-up of '
          f'{config.minutes(config.vla_warmup_steps):g}: '
          f'{config.minutes(config.num_env_steps):g}.'
        )
      gates.check_settings(row, config)
      self._states(row, config)

  def run(self) -> None:
    """Runs what is not finished, and writes the table after each row.

    Several processes may run in one folder: each takes the runs that no other
    one has, and the table has all that are finished.

    Raises:
      KeyboardInterrupt: a signal came; a resumed comparison goes on there.
      RefusedError: a row that cannot run with the VLA or the task, before any
        runs; a gate that cannot be computed, or runs of several VLAs.
      OSError: this process cannot write there.
    """
    self._workdir.mkdir(parents=True, exist_ok=True)
    self._check_rows()
    elsewhere = []
    for row, config in self._tasks:
      for seed in self._seeds:
        if not self._run_seed(row, config, seed):
          elsewhere.append(f'{row.name}/seed-{seed}')
      text = self._write_table(row.name)
    if elsewhere:
      _say(
        f'Another process runs {", ".join(elsewhere)}: the last one to end has '
        'the whole table.'
      )
    _say(f'{text}\nTable: {self._workdir / results.NAME}.md')

  def is_saved(self) -> bool:
    """Returns whether there is anything to resume from."""
    return any(
      state != runs.NEW
      for task in self._tasks
      for state in self._states(*task).values()
    )

  def _in_folder(self) -> list[Task]:
    """Returns the rows of this command and those that the folder has."""
    named = {task.row.name: task for task in self._tasks}
    return [
      named.get(row.name) or Task(row, self._make_config(row))
      for row in ROWS.values()
      if row.name in named or runs.seeds_in(self._workdir, row)
    ]

  def _write_table(self, ended: str) -> str:
    """Writes the table of all that is finished; returns its text.

    Args:
      ended: the row whose gates are shown.
    """
    entries = []
    try:
      runs.check_same_parts(self._finished_folders())
      for row, config in self._in_folder():
        if set(self._states(row, config).values()) & set(runs.ENDED):
          entries.append(self._entry(row, config))
    except ValueError as error:
      raise RefusedError(str(error)) from error
    text = results.write(self._workdir, entries, command=self._command)
    shown = [entry for entry in entries if entry['name'] == ended]
    _say(f'\n{results.gate_table(shown)}\n')
    return text

  def _check_rows(self) -> None:
    """Raises RefusedError for a row that cannot run, before any row does."""
    for row, config in self._tasks:
      states = self._states(row, config)
      if any(states[x] not in runs.ENDED for x in self._seeds):
        with _refusals(row):
          runs.check_parts(row, config, self._assets)

  def _run_seed(self, row: Row, config: PracticeConfig, seed: int) -> bool:
    """Runs a seed to its end; returns False if another process does."""
    folder = runs.folder_of(self._workdir, row, seed)
    claim = self._workdir / _CLAIMS / f'{row.name}-{seed}'
    try:
      held = lock_lib.lock_if_possible(claim, '--workdir', _say)
    except lock_lib.LockedError:
      return False
    try:
      state = self._states(row, config)[seed]
      _say(f'\nrow {row.name}, seed {seed}: {state}')
      if state not in runs.ENDED:
        with _refusals(row):
          run = runs.open_seed(
            folder,
            row,
            dataclasses.replace(config, seed=seed),
            assets=self._assets,
            command=self._command,
          )
        runs.run_to_end(run, folder)
    finally:
      if held is not None:
        held.release()
    return True

  def _entry(self, row: Row, config: PracticeConfig) -> dict[str, Any]:
    """Returns the part of the table of a row whose seeds have run."""
    states = self._states(row, config)
    finished, diverged = (
      [
        runs.folder_of(self._workdir, row, seed)
        for seed, state in states.items()
        if state == wanted
      ]
      for wanted in (runs.FINISHED, runs.DIVERGED)
    )
    found = self._gates(
      row,
      gates.Runs(
        config=config,
        policy=row.policy,
        finished=finished,
        diverged=diverged,
        open_start=functools.cache(
          lambda: start_gates.open_start(config, self._assets)
        ),
      ),
    )
    return results.entry(row, finished=finished, diverged=diverged, gates=found)

  def _gates(self, row: Row, of_row: gates.Runs) -> Mapping[str, Any]:
    """Returns the row's gates, of its file if it is of the same runs."""
    path = self._workdir / row.name / _GATES_FILE
    basis = {
      'finished': {x.name: _digest(x / 'report.json') for x in of_row.finished},
      'diverged': [x.name for x in of_row.diverged],
    }
    if path.exists():
      kept = files.read_json(path)
      if kept.get('of') == basis and list(kept['gates']) == [*gates.names(row)]:
        return kept['gates']
    found = gates.check(row, of_row)
    text = json.dumps({'of': basis, 'gates': found}, indent=1) + '\n'
    files.write_atomically(path, text)
    return found

  def _states(self, row: Row, config: PracticeConfig) -> dict[int, str]:
    """Returns how far the seeds are, those of earlier commands included."""
    return {
      seed: runs.state_of(
        runs.folder_of(self._workdir, row, seed), row, config, seed
      )
      for seed in sorted({*self._seeds, *runs.seeds_in(self._workdir, row)})
    }

  def _finished_folders(self) -> list[pathlib.Path]:
    """Returns the folders of all runs so far that reached their end."""
    return [
      runs.folder_of(self._workdir, task.row, seed)
      for task in self._in_folder()
      for seed, state in self._states(*task).items()
      if state == runs.FINISHED
    ]


@contextlib.contextmanager
def _refusals(row: Row) -> Iterator[None]:
  try:
    yield
  except ValueError as error:
    raise RefusedError(f'The row {row.name!r} cannot run: {error}') from error


def _digest(path: pathlib.Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()


def _say(text: str) -> None:
  print(text, flush=True)
