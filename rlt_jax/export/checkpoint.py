"""Checkpoints of a run: any pytree of arrays, saved atomically.

Layout: `workdir/checkpoints/<env_steps>/{meta.json, state/}`. A checkpoint
is written under a temporary name and renamed when it is complete and on the
disk, see `checkpoint_folders.py`. meta.json has type and digest of every array,
so that a damaged one is found: a reader then takes the checkpoint before it.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
from importlib import metadata
import json
import logging
import os
import pathlib
import sys
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orbax.checkpoint as ocp

from rlt_jax import files
from rlt_jax.export import checkpoint_folders as folders
from rlt_jax.export import checkpoint_leaves as leaves_lib

FORMAT_VERSION = 1
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
_META, _STATE = 'meta.json', 'state'
_LEAVES = 'leaves'  # in meta.json: type and digest of each array
_PathLike = str | os.PathLike[str]
_T = TypeVar('_T')


class DamagedError(ValueError):
  """No checkpoint is whole; the text says what is wrong with the newest."""


class SaveError(OSError):
  """A checkpoint could not be written; errno is that of the disk, or None."""


class Restored(NamedTuple):
  """Result of `restore`.

  env_steps: control steps done when it was saved.
  state: the pytree, with the structure and leaf kinds of `like`.
  meta: what `save` was given.
  """

  env_steps: int
  state: Any
  meta: dict[str, Any]


def make_meta(
  config: Mapping[str, Any], fingerprints: Mapping[str, str]
) -> dict[str, Any]:
  """Returns the meta.json of a run: format, config, fingerprints, versions."""
  return {
    'format_version': FORMAT_VERSION,
    'config': dict(config),
    'fingerprints': dict(fingerprints),
    'versions': {name: metadata.version(name) for name in _PACKAGES},
  }


def check_meta(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
  """Raises ValueError naming the first entry of `expected` not in `found`.

  Args:
    found: meta.json of a checkpoint.
    expected: the entries that must agree, nested like `found`; what it leaves
      out, such as versions, may differ.
  """
  _check_entry(found, expected, ())


def save(
  workdir: _PathLike,
  env_steps: int,
  state: Any,
  meta: Mapping[str, Any],
  *,
  keep: int = 2,
  infinite: str = '',
) -> pathlib.Path:
  """Saves `state`, returns its folder, and deletes the oldest beyond `keep`.

  It is on the disk when this returns. An old one that cannot be deleted is
  reported on stderr.

  Args:
    workdir: of the run.
    env_steps: names the checkpoint; saving the same number again replaces
      it.
    state: pytree of arrays (PRNG keys too) and Python numbers.
    meta: JSON object, see `make_meta`.
    keep: number of checkpoints to keep, at least 1.
    infinite: path of the part of `state` that may hold infinity, though no
      NaN; '' for none.

  Raises:
    ValueError: a leaf is no number or not finite (nothing is written: the last
      good checkpoint stays the latest), or `env_steps` is
      below that of the latest checkpoint.
    SaveError: it could not be written; the checkpoints before it stay.
  """
  if keep < 1:
    raise ValueError(f'keep must be at least 1: {keep}.')
  last = latest(workdir)
  if env_steps < (last or 0):
    raise ValueError(f'env_steps must not go back: {env_steps} < {last}.')
  arrays = leaves_lib.flatten(state)
  leaves_lib.check_finite(arrays, infinite)
  root = folders.root_of(workdir)
  with _sayable(root / str(env_steps), last):
    partial = folders.make_partial(root)
    try:
      _write(partial, arrays, meta)
      folder = folders.publish(partial, env_steps)
    except BaseException:
      folders.remove(partial)
      raise
  for old in list(folders.complete(root).values())[:-keep]:
    folders.remove(old)
  return folder


def latest(workdir: _PathLike) -> int | None:
  """Returns `env_steps` of the newest checkpoint, None without one."""
  return max(folders.complete(folders.root_of(workdir)), default=None)


def find(
  workdir: _PathLike,
  *,
  env_steps: int | None = None,
  expected_meta: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, Any]]:
  """Returns `env_steps` and meta of a checkpoint; reads no array.

  Args:
    workdir: of the run.
    env_steps: which one; None takes the latest that is not damaged, and says
      on stderr which ones are.
    expected_meta: checked by `check_meta`.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    DamagedError: all are damaged, or the wanted one is.
    ValueError: meta differs; the message names the entry.
  """

  def read(path: pathlib.Path) -> dict[str, Any]:
    meta = _read_meta(path)
    check_meta(meta, {'format_version': FORMAT_VERSION} | (expected_meta or {}))
    meta.pop(_LEAVES, None)
    return meta

  steps, meta, _ = _first_whole(workdir, env_steps, read)
  return steps, meta


def restore(
  workdir: _PathLike,
  like: Any,
  *,
  part: str = '',
  env_steps: int | None = None,
  expected_meta: Mapping[str, Any] | None = None,
  set_aside: bool = False,
) -> Restored:
  """Restores a checkpoint into the structure of `like`.

  Leaves come back as `like` has them: jax arrays, numpy arrays or Python
  numbers. Without `set_aside` nothing is written.

  Args:
    workdir: of the run.
    like: pytree with the shapes and dtypes that must be found.
    part: path of the part of the saved state that `like` is; '' is all of it.
    env_steps, expected_meta: see `find`, whose checks come first.
    set_aside: rename what is damaged, so that the run can save its number
      again.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    DamagedError: all are damaged, or the wanted one is.
    ValueError: meta differs, or a leaf is missing, left over, or of another
      shape or dtype; the message names it, what was expected and found.
  """
  expected = leaves_lib.flatten({part: like} if part else like)

  def read(path: pathlib.Path) -> tuple[Any, dict[str, Any]]:
    meta = _read_meta(path)
    check_meta(meta, {'format_version': FORMAT_VERSION} | (expected_meta or {}))
    described = meta.pop(_LEAVES, None)
    types = (
      _read_types(path / _STATE)
      if described is None
      else {name: leaf['type'] for name, leaf in described.items()}
    )
    wanted = {
      name: text
      for name, text in types.items()
      if part in ('', name) or name.startswith(f'{part}/')
    }
    leaves_lib.check_types(wanted, expected)
    arrays = _read_arrays(path / _STATE, expected, partial=bool(part))
    # Older versions wrote no digests.
    if described is not None:
      if (damaged := leaves_lib.find_damaged(arrays, described)) is not None:
        raise DamagedError(f'{damaged} has other numbers than were saved')
    return leaves_lib.unflatten(arrays, {part: like} if part else like), meta

  steps, (state, meta), damaged = _first_whole(workdir, env_steps, read)
  if set_aside:
    for number, path in damaged.items():
      aside = folders.set_aside(path, number)
      print(f'The damaged checkpoint is now {aside}.', file=sys.stderr)
  return Restored(steps, state[part] if part else state, meta)


def _write(
  folder: pathlib.Path,
  arrays: Mapping[str, np.ndarray],
  meta: Mapping[str, Any],
) -> None:
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder / _STATE, dict(arrays))
    checkpointer.wait_until_finished()
  content = dict(meta) | {_LEAVES: leaves_lib.describe(arrays)}
  text = json.dumps(content, indent=2, allow_nan=False)
  files.write_atomically(folder / _META, text)


@contextlib.contextmanager
def _sayable(folder: pathlib.Path, last: int | None) -> Iterator[None]:
  """Turns what a library says of a full disk into one sentence.

  Args:
    folder: of the new checkpoint.
    last: env_steps of the one before it.
  """
  logger = logging.getLogger('absl')  # Orbax's: tracebacks of its threads
  logger.addFilter(_drop)
  try:
    yield
  except Exception as error:
    code = files.error_code(error)
    reason = os.strerror(code) if code else f'{type(error).__name__}: {error}'
    before = 'There is none before it.'
    if last is not None:
      before = f'The one before it is complete: {folder.with_name(str(last))}.'
    text = f'The checkpoint {folder} could not be written: {reason}. {before}'
    raised = SaveError(text)
    raised.errno = code
    raise raised from error
  finally:
    logger.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
  del record
  return False


def _first_whole(
  workdir: _PathLike,
  env_steps: int | None,
  read: Callable[[pathlib.Path], _T],
) -> tuple[int, _T, dict[int, pathlib.Path]]:
  """Reads the newest checkpoint that is whole, and says what is damaged.

  Args:
    workdir: of the run.
    env_steps: the only one to read; None takes all in turn.
    read: reads one; raises DamagedError, whose text is the reason.

  Returns:
    Its env_steps, what `read` returned, and the damaged ones after it.
  """
  root = folders.root_of(workdir)
  found = folders.complete(root)
  wanted = sorted(found, reverse=True) if env_steps is None else [env_steps]
  if not wanted or wanted[0] not in found:
    name = '' if env_steps is None else f'{env_steps} '
    raise FileNotFoundError(f'No checkpoint {name}in {root}.')
  damaged: dict[int, pathlib.Path] = {}
  reasons = []
  for steps in wanted:
    try:
      value = read(found[steps])
    except DamagedError as error:
      damaged[steps] = found[steps]
      reasons.append(f'The checkpoint {found[steps]} is damaged: {error}.')
      continue
    if reasons:
      reasons.append(
        f'The one before it is whole and is taken: {found[steps]}.'
      )
      print(' '.join(reasons), file=sys.stderr, flush=True)
    return steps, value, damaged
  if env_steps is None:
    reasons.append(
      f'There is no whole one before it in {root}: the run must be begun again '
      'in a new folder.'
    )
  raise DamagedError(' '.join(reasons))


def _read_meta(folder: pathlib.Path) -> dict[str, Any]:
  """Returns meta.json, whose leaves have a type and a digest."""
  if not folder.is_dir():
    raise DamagedError('it is no folder')
  for name, exists in (
    (_META, pathlib.Path.is_file),
    (_STATE, pathlib.Path.is_dir),
  ):
    if not exists(folder / name):
      raise DamagedError(f'{name} is missing')
  try:
    meta = files.read_json(folder / _META)
    for leaf in meta.get(_LEAVES, {}).values():
      leaf['type'], leaf['sha256']
  except KeyError as error:
    raise DamagedError(f'{_META} lacks {error} of a leaf') from None
  except (ValueError, AttributeError, TypeError) as error:
    raise DamagedError(f'{_META} cannot be read: {error}') from None
  return meta


def _read_types(folder: pathlib.Path) -> dict[str, str]:
  """Returns the type of every array by path, from Orbax's own files."""
  with _damage(), ocp.StandardCheckpointer() as checkpointer:
    found = checkpointer.metadata(folder).item_metadata.tree
    return {path: leaves_lib.spell(leaf) for path, leaf in found.items()}


def _read_arrays(
  folder: pathlib.Path, like: Mapping[str, np.ndarray], *, partial: bool
) -> dict[str, np.ndarray]:
  """Returns the arrays of these paths."""
  arguments = ocp.args.PyTreeRestore(
    item=dict(like),
    restore_args={
      path: ocp.RestoreArgs(restore_type=np.ndarray) for path in like
    },
    partial_restore=partial,
  )
  with _damage(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as handler:
    return handler.restore(folder, args=arguments)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
  """Turns what a library says of its damaged files into DamagedError."""
  try:
    yield
  except (PermissionError, MemoryError):
    raise
  except Exception as error:  # of Orbax, TensorStore, JSON, zstd, ...
    reason = (str(error).splitlines() or [''])[0]
    raise DamagedError(
      f'{_STATE} cannot be read: {type(error).__name__}: {reason}'
    ) from error


def _check_entry(found: Any, expected: Any, path: tuple[str, ...]) -> None:
  if isinstance(expected, Mapping) and isinstance(found, Mapping):
    for name, value in expected.items():
      if name not in found:
        raise ValueError(
          f'A checkpoint must have {".".join((*path, name))}: it is missing.'
        )
      _check_entry(found[name], value, (*path, name))
    return
  # JSON has no tuples, so compare with `expected` as JSON stores it.
  if json.loads(json.dumps(expected)) != found:
    raise ValueError(
      'Checkpoint and run must agree: '
      f'{".".join(path)}, expected {expected!r}, found {found!r}.'
    )
