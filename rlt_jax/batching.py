"""Batches of one size, so that jit compiles once, and selection by a mask."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array


def map_in_batches(fn: Callable[[Any], Any], tree: Any, size: int) -> Any:
  """Returns `fn(tree)`, computed in batches of exactly `size` rows.

  The last batch is padded with copies of the last row; their results are
  dropped.

  Args:
    fn: from a tree whose leaves lead with `size` to one whose leaves do.
    tree: leaves lead with M, at least 1.
    size: rows per call, at least 1.

  Returns:
    The results, leaves lead with M: NumPy if `fn` returns NumPy arrays.
  """
  count = len(jax.tree.leaves(tree)[0])
  if count < 1 or size < 1:
    raise ValueError(f'Rows and size must be at least 1: {count}, {size}.')
  rows = np.minimum(np.arange(-(-count // size) * size), count - 1)
  parts = [
    fn(jax.tree.map(lambda x: x[index], tree))  # noqa: B023
    for index in rows.reshape(-1, size)
  ]

  def join(*leaves):
    numpy = isinstance(leaves[0], np.ndarray)
    return (np if numpy else jnp).concatenate(leaves)[:count]

  return jax.tree.map(join, *parts)


def tree_select(mask: Array, new: Any, old: Any) -> Any:
  """Returns `new` where the mask is True and `old` elsewhere, row by row.

  Args:
    mask: bool [M].
    new, old: trees whose leaves lead with M, or with M * n; then each entry of
      the mask selects n rows.
  """

  def select(x, y):
    rows = mask
    if x.shape[0] != mask.shape[0]:
      rows = jnp.repeat(mask, x.shape[0] // mask.shape[0])
    return jnp.where(rows.reshape(-1, *[1] * (x.ndim - 1)), x, y)

  return jax.tree.map(select, new, old)
