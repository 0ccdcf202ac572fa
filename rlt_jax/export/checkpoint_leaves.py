"""The arrays of a checkpoint: their names, types and digests."""

from collections.abc import Mapping
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def flatten(tree: Any) -> dict[str, np.ndarray]:
  """Returns path -> host array of every leaf, in the order of the tree.

  Raises:
    ValueError: a leaf is no number, or two have one path.
  """
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


def unflatten(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
  """Returns the tree of `like` with each array as the kind of its leaf.

  Args:
    arrays: by path, see `flatten`.
    like: tree of jax arrays, numpy arrays and Python numbers.
  """
  leaves, treedef = jax.tree.flatten(like)
  values = [arrays[path] for path in flatten(like)]
  return treedef.unflatten(map(_as_leaf, leaves, values))


def check_finite(arrays: Mapping[str, np.ndarray], infinite: str = '') -> None:
  """Raises ValueError that names an array with a NaN or infinity.

  Args:
    arrays: by path.
    infinite: path of the part that may hold infinity, though no NaN; '' for
      none.
  """
  for path, array in arrays.items():
    if infinite and f'{path}/'.startswith(f'{infinite}/'):
      if np.any(np.isnan(array)):
        raise ValueError(f'A checkpoint must not hold NaN: {path} does.')
    elif not np.all(np.isfinite(array)):
      raise ValueError(f'A checkpoint must be finite: {path} is not.')


def describe(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, str]]:
  """Returns type and digest of each array, as meta.json has them."""
  return {
    path: {'type': spell(array), 'sha256': _digest(array)}
    for path, array in arrays.items()
  }


def find_damaged(
  arrays: Mapping[str, np.ndarray], described: Mapping[str, Mapping[str, str]]
) -> str | None:
  """Returns the path of an array that is not as described; None without one."""
  for path, array in arrays.items():
    if describe({path: array})[path] != described[path]:
      return path
  return None


def check_types(
  found: Mapping[str, str], expected: Mapping[str, np.ndarray]
) -> None:
  """Raises ValueError naming a leaf that a run has and a checkpoint has not.

  Args:
    found: type of each leaf of the checkpoint, as `spell` writes it.
    expected: arrays of the run; it may be the other way round, too.
  """
  for path in [*expected, *found]:
    if path not in found or path not in expected:
      word = 'lacks' if path in expected else 'has the unknown'
      raise ValueError(
        f'A checkpoint must hold the leaves of the run: it {word} {path}.'
      )
    want, have = spell(expected[path]), found[path]
    if want != have:
      raise ValueError(
        'A leaf must keep its shape and dtype: '
        f'{path}, expected {want}, found {have}.'
      )


def spell(array: Any) -> str:
  """Returns dtype[shape] of an array or of its metadata."""
  shape = ', '.join(map(str, array.shape))
  return f'{np.dtype(array.dtype)}[{shape}]'


def _digest(array: np.ndarray) -> str:
  flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  return hashlib.sha256(flat).hexdigest()


def _is_typed_key(leaf: Any) -> bool:
  return isinstance(leaf, jax.Array) and jnp.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  )


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
