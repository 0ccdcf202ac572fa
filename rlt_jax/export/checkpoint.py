"""Checkpoints of a run: any pytree of arrays, saved atomically.

Layout: `workdir/checkpoints/<env_steps>/{meta.json, state/}`. A checkpoint
is written under a temporary name and renamed when complete, so a folder with a
plain number is always whole.
"""

from collections.abc import Mapping
from importlib import metadata
import json
import os
import pathlib
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from rlt_jax import files

FORMAT_VERSION = 1
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')
_PARTIAL = '.partial-'
_PathLike = str | os.PathLike[str]


class Restored(NamedTuple):
  """Result of `restore`.

  env_steps: control steps done when it was saved.
  state: the pytree, with the structure and leaf kinds of `like`.
  meta: the contents of meta.json.
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
) -> pathlib.Path:
  """Saves `state`, returns its folder, and deletes the oldest beyond `keep`.

  Args:
    workdir: of the run.
    env_steps: names the checkpoint; saving the same number again replaces
      it.
    state: pytree of arrays (PRNG keys too) and Python numbers.
    meta: JSON object, see `make_meta`.
    keep: number of checkpoints to keep, at least 1.

  Raises:
    ValueError: a leaf is no number or not finite (nothing is written: the last
      good checkpoint stays the latest), or `env_steps` is
      below that of the latest checkpoint.
  """
  if keep < 1:
    raise ValueError(f'keep must be at least 1: {keep}.')
  last = latest(workdir)
  if env_steps < (last or 0):
    raise ValueError(f'env_steps must not go back: {env_steps} < {last}.')
  arrays = _flatten(state)
  for path, array in arrays.items():
    if not np.all(np.isfinite(array)):
      raise ValueError(f'A checkpoint must be finite: {path} is not.')
  root = _root(workdir)
  root.mkdir(parents=True, exist_ok=True)
  for leftover in root.glob(f'{_PARTIAL}*'):
    shutil.rmtree(leftover)
  partial = root / f'{_PARTIAL}{env_steps}'
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(partial / 'state', arrays)
    checkpointer.wait_until_finished()
  text = json.dumps(dict(meta), indent=2, allow_nan=False)
  files.write_atomically(partial / 'meta.json', text)
  folder = root / str(env_steps)
  if folder.exists():
    _remove(folder)
  os.replace(partial, folder)
  files.sync_folder(root)
  for old in _steps(workdir)[:-keep]:
    _remove(root / str(old))
  return folder


def latest(workdir: _PathLike) -> int | None:
  """Returns `env_steps` of the newest whole checkpoint, None without one."""
  steps = _steps(workdir)
  return steps[-1] if steps else None


def find(
  workdir: _PathLike,
  *,
  env_steps: int | None = None,
  expected_meta: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, Any]]:
  """Returns `env_steps` and meta of a checkpoint; reads no array.

  Args:
    workdir: of the run.
    env_steps: which one; None takes the latest.
    expected_meta: checked by `check_meta`.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    ValueError: meta differs; the message names the entry.
  """
  steps = latest(workdir) if env_steps is None else env_steps
  folder = _root(workdir) / str(steps)
  if steps is None or not folder.is_dir():
    raise FileNotFoundError(
      f'No checkpoint {"" if steps is None else steps} in {_root(workdir)}.'
    )
  meta = json.loads((folder / 'meta.json').read_text(encoding='utf-8'))
  check_meta(meta, {'format_version': FORMAT_VERSION} | (expected_meta or {}))
  return steps, meta


def restore(
  workdir: _PathLike,
  like: Any,
  *,
  env_steps: int | None = None,
  expected_meta: Mapping[str, Any] | None = None,
) -> Restored:
  """Restores a checkpoint into the structure of `like`.

  Leaves come back as `like` has them: jax arrays, numpy arrays or Python
  numbers.

  Args:
    workdir: of the run.
    like: pytree with the shapes and dtypes that must be found.
    env_steps, expected_meta: see `find`, which comes first.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    ValueError: meta differs, or a leaf is missing, left over, or of another
      shape or dtype; the message names it, what was expected and found.
  """
  steps, meta = find(workdir, env_steps=env_steps, expected_meta=expected_meta)
  folder = _root(workdir) / str(steps)
  expected = _flatten(like)
  with ocp.StandardCheckpointer() as checkpointer:
    found = checkpointer.metadata(folder / 'state').item_metadata.tree
    _check_leaves(found, expected)
    arrays = checkpointer.restore(folder / 'state', expected)
  leaves, treedef = jax.tree.flatten(like)
  values = [arrays[path] for path in expected]
  state = treedef.unflatten(map(_as_leaf, leaves, values))
  return Restored(steps, state, meta)


def _root(workdir: _PathLike) -> pathlib.Path:
  # Orbax takes absolute paths only.
  return pathlib.Path(workdir).absolute() / 'checkpoints'


def _steps(workdir: _PathLike) -> list[int]:
  root = _root(workdir)
  names = (path.name for path in root.iterdir()) if root.is_dir() else ()
  return sorted(int(name) for name in names if name.isdecimal())


def _remove(folder: pathlib.Path) -> None:
  # Renamed first, so that an interrupted deletion leaves no incomplete
  # checkpoint under a plain number.
  doomed = folder.with_name(f'{_PARTIAL}old-{folder.name}')
  os.replace(folder, doomed)
  shutil.rmtree(doomed)


def _is_typed_key(leaf: Any) -> bool:
  return isinstance(leaf, jax.Array) and jnp.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  )


def _flatten(tree: Any) -> dict[str, np.ndarray]:
  """Returns path -> host array of every leaf, in the order of the tree."""
  arrays = {}
  for key_path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    path = jax.tree_util.keystr(key_path, simple=True, separator='/')
    if _is_typed_key(leaf):
      leaf = jax.random.key_data(leaf)
    array = np.asarray(jax.device_get(leaf))
    if not jnp.issubdtype(array.dtype, jnp.number) and array.dtype != bool:
      raise ValueError(f'A leaf must be numeric: {path} is {leaf!r}.')
    if path in arrays:
      raise ValueError(f'Leaves must have paths of their own: {path} is twice.')
    arrays[path] = array
  return arrays


def _as_leaf(leaf: Any, array: np.ndarray) -> Any:
  """Returns `array` as the kind of value `leaf` is."""
  if _is_typed_key(leaf):
    impl = jax.random.key_impl(leaf)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=impl)
  if isinstance(leaf, jax.Array):
    return jnp.asarray(array)
  if isinstance(leaf, bool | int | float) and not isinstance(leaf, np.generic):
    return type(leaf)(array.item())
  return array if isinstance(leaf, np.ndarray) else array[()]


def _check_leaves(
  found: Mapping[str, Any], expected: Mapping[str, np.ndarray]
) -> None:
  for path in [*expected, *found]:
    if path not in found or path not in expected:
      word = 'lacks' if path in expected else 'has the unknown'
      raise ValueError(
        f'A checkpoint must hold the leaves of the run: it {word} {path}.'
      )
    want, have = _spell(expected[path]), _spell(found[path])
    if want != have:
      raise ValueError(
        'A leaf must keep its shape and dtype: '
        f'{path}, expected {want}, found {have}.'
      )


def _spell(array: Any) -> str:
  """Returns dtype[shape] of an array or of its metadata."""
  shape = ', '.join(map(str, array.shape))
  return f'{np.dtype(array.dtype)}[{shape}]'


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
