"""The folders of a run's checkpoints: their names and how they are replaced.

checkpoints/<env_steps>            complete
checkpoints/.replaced-<env_steps>  complete, while another takes its name
checkpoints/.partial-...           being written or deleted
checkpoints/damaged-<env_steps>    set aside by a resumed run
"""

from collections.abc import Iterator
import itertools
import os
import pathlib
import re
import shutil
import sys

from rlt_jax import files

_PARTIAL, _REPLACED, _DAMAGED = '.partial-', '.replaced-', 'damaged-'
_NAME = re.compile(rf'({re.escape(_REPLACED)})?(0|[1-9][0-9]*)')


def root_of(workdir: str | os.PathLike[str]) -> pathlib.Path:
  """Returns the folder of a run's checkpoints, absolute as Orbax wants it."""
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def complete(root: pathlib.Path) -> dict[int, pathlib.Path]:
  """Returns the path of every complete checkpoint by env_steps, ascending."""
  found: dict[int, pathlib.Path] = {}
  for path in root.iterdir() if root.is_dir() else ():
    if match := _NAME.fullmatch(path.name):
      steps = int(match[2])
      # Both are there if the replacement ended before the old one was deleted.
      if match[1] is None or steps not in found:
        found[steps] = path
  return dict(sorted(found.items()))


def make_partial(root: pathlib.Path) -> pathlib.Path:
  """Returns a new folder to write a checkpoint into."""
  root.mkdir(parents=True, exist_ok=True)
  for leftover in root.glob(f'{_PARTIAL}*'):
    _delete(leftover)
  for path in _numbered(root / f'{_PARTIAL}{os.getpid()}'):
    path.mkdir()
    return path


def publish(partial: pathlib.Path, env_steps: int) -> pathlib.Path:
  """Gives a written folder its number; at no time the number has none."""
  files.sync_tree(partial)
  root = partial.parent
  folder, replaced = root / str(env_steps), root / f'{_REPLACED}{env_steps}'
  if os.path.lexists(folder):
    remove(replaced)
    os.replace(folder, replaced)
  os.replace(partial, folder)
  files.sync_folder(root)
  files.sync_folder(root.parent)
  for old in root.glob(f'{_REPLACED}*'):
    if (root / old.name.removeprefix(_REPLACED)).exists():
      remove(old)
  return folder


def remove(path: pathlib.Path) -> None:
  """Deletes a checkpoint, if it is there; what remains is never complete."""
  if not os.path.lexists(path):
    return
  doomed = next(_numbered(path.with_name(f'{_PARTIAL}old-{path.name}')))
  try:
    os.replace(path, doomed)
  except OSError as error:
    _complain(path, error)
  else:
    _delete(doomed)


def set_aside(path: pathlib.Path, env_steps: int) -> pathlib.Path:
  """Renames a damaged checkpoint, so that its number is free again."""
  aside = next(_numbered(path.with_name(f'{_DAMAGED}{env_steps}')))
  os.replace(path, aside)
  return aside


def _numbered(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a path of this name that is free."""
  if not os.path.lexists(path):
    yield path
  for number in itertools.count(2):
    other = path.with_name(f'{path.name}-{number}')
    if not os.path.lexists(other):
      yield other


def _delete(path: pathlib.Path) -> None:
  """Deletes a file or tree. A network's disk may refuse; the run goes on."""
  try:
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink()
  except OSError as error:
    _complain(path, error)


def _complain(path: pathlib.Path, error: OSError) -> None:
  print(
    f'An old checkpoint could not be deleted, the run goes on: {path}: {error}',
    file=sys.stderr,
  )
