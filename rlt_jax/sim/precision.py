"""Full float32 precision for the simulator on every device."""

from collections.abc import Callable
import functools
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec('_P')
_T = TypeVar('_T')


def full_precision(function: Callable[_P, _T]) -> Callable[_P, _T]:
  """Traces a function with full float32 products.

  By default a GPU since NVIDIA's Ampere multiplies float32 matrices as TF32,
  with 10 bits of mantissa. At the length of an arm that is some tenths of a
  millimeter, as much as the clearance of a socket. Kinematics, physics,
  verdicts and rays therefore ask for full precision themselves. Networks stay
  at the device's default.
  """

  @functools.wraps(function)
  def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _T:
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return wrapped
