"""The folder of a run: who may write it, its settings and evaluations."""

import json
import pathlib
import shutil
import sys
from typing import Any

from rlt_jax import files
from rlt_jax import lock as lock_lib
from rlt_jax.export import checkpoint
from rlt_jax.reporting import statistics
from rlt_jax.reporting.metrics import METRICS_FILE
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training import config as config_module
from rlt_jax.training.config import PracticeConfig

CONFIG_FILE, EVALUATIONS_FILE = 'config.json', 'evaluations.json'
# What a run writes before its first checkpoint; all of it is made again.
_EARLY = (
  'lock', CONFIG_FILE, EVALUATIONS_FILE, METRICS_FILE, 'tensorboard',
  'checkpoints',
)  # fmt: skip
_SECONDS = 'seconds'


class Record:
  """Evaluations in a JSON file, so that a resumed run has them too."""

  def __init__(self, path: pathlib.Path):
    """Reads the file if it exists.

    Raises:
      ValueError: the file is damaged.
    """
    self._path = path
    self.data: dict[str, Any] = {}
    if path.exists():
      self.data = files.read_json(path)

  def put(self, name: str, value: Any) -> None:
    """Stores a JSON value under a name."""
    self.data[name] = value
    files.write_atomically(self._path, json.dumps(self.data))

  def put_episodes(self, name: str, episodes: Episodes) -> None:
    """Stores episodes under a name."""
    self.put(name, statistics.to_plain(episodes))

  def episodes(self, name: str) -> Episodes:
    """Returns episodes stored under a name."""
    return statistics.from_plain(self.data[name])

  def seconds(self) -> dict[str, float]:
    """Returns the wall-clock seconds by part that were kept last."""
    return dict(self.data.get(_SECONDS, {}))

  def put_seconds(self, seconds: dict[str, float]) -> None:
    """Keeps the wall-clock seconds of all processes of the run, by part."""
    self.put(_SECONDS, seconds)


def check_workdir(workdir: pathlib.Path, resume: bool) -> None:
  """Raises ValueError if a run can neither start nor continue."""
  last = checkpoint.latest(workdir)
  if resume and last is None:
    raise ValueError(
      f'A run needs a checkpoint to be opened or resumed: {workdir} has none. '
      'Without --resume it begins again.'
    )
  if resume or not workdir.exists():
    return
  if not workdir.is_dir():
    raise ValueError(f'workdir must be a folder: {workdir} is a file.')
  rule = f'workdir must be new (or pass --resume to continue): {workdir}'
  if last is not None:
    raise ValueError(f'{rule} has a run with the checkpoint {last}.')
  names = {path.name for path in workdir.iterdir()}
  if other := sorted(names - set(_EARLY)):
    raise ValueError(f'{rule} has other files, {", ".join(other[:3])}.')
  if names - {'lock'} and CONFIG_FILE not in names:
    raise ValueError(f'{rule} has other files and no {CONFIG_FILE}.')
  if damaged := sorted((workdir / 'checkpoints').glob('damaged-*')):
    raise ValueError(f'{rule} has the damaged checkpoint {damaged[0].name}.')


def lock(workdir: pathlib.Path) -> lock_lib.Lock | None:
  """Makes a run's folder and takes its lock, so that no other run writes there.

  None where the file system has no locks, which is said on stderr.

  Raises:
    OSError: another process writes there, or nobody can.
  """
  return lock_lib.lock_if_possible(
    workdir, 'workdir', lambda text: print(text, file=sys.stderr)
  )


def clear(workdir: pathlib.Path) -> None:
  """Deletes what a run left that had no checkpoint, see `check_workdir`."""
  for name in set(_EARLY) - {'lock'}:
    path = workdir / name
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink(missing_ok=True)


def read_config(workdir: pathlib.Path) -> PracticeConfig:
  """Returns the settings of the run in a workdir.

  Raises:
    ValueError: settings of another version, named.
    OSError: no run in the workdir.
  """
  path = workdir / CONFIG_FILE
  if not path.is_file():
    raise FileNotFoundError(
      f'workdir must be the folder of a run: {workdir} has no {CONFIG_FILE}.'
    )
  try:
    return config_module.read_config(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} cannot be used: {error}') from error
