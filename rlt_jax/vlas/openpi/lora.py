"""Merges the factors of a LoRA training into the weights beside them."""

import numpy as np

_SUMMED = 'attn_vec_einsum'


def merge(name: str, w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns w + a b, float32; openpi's scale alpha / rank is 1.

  Args:
    name: of w, which says how openpi multiplies the factors.
    w: [..., i, o]. a: [..., i, rank]. b: [..., rank, o].
  """
  w, a, b = (np.asarray(x, np.float32) for x in (w, a, b))
  if _SUMMED in name:
    # openpi's sum over the heads takes b by itself: every head of a meets the
    # sum of b over the heads, [..., heads, rank, o].
    b = b.sum(-3, keepdims=True)
  return w + a @ b
