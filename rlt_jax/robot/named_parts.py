"""Calls what a station's file names, with every fault a sentence."""

from collections.abc import Callable, Mapping
import inspect
import traceback
from typing import Any

from rlt_jax import plugins


def load(place: str, field: str) -> Callable[..., Any]:
  """Returns the function or class that 'module:function' names.

  Args:
    place: the text in the file.
    field: of the file, for messages.

  Raises:
    ValueError: no such module or function, or it cannot be imported or called.
  """
  found = plugins.load_object(place, shipped={}, what=field)
  if not callable(found):
    raise ValueError(f'{field} must name a function: {place!r} is {found!r}.')
  return found


def call(
  function: Callable[..., Any],
  field: str,
  *args: Any,
  arguments: Mapping[str, Any],
  **given: Any,
) -> Any:
  """Returns `function(*args, **given, **arguments)`.

  Args:
    function: to call.
    field: of the file, for messages.
    *args: passed on.
    arguments: of the file.
    **given: passed on.

  Raises:
    ValueError: the function does not take the arguments, or it failed; the
      text has the place in its code. Errors that already are sentences, such
      as an ArmError, are not changed.
  """
  name = getattr(function, '__qualname__', repr(function))
  try:
    bound = inspect.signature(function).bind(*args, **given, **arguments)
  except TypeError as error:
    raise ValueError(
      f'{field} must be the arguments of {name}: {error}.'
    ) from None
  try:
    return function(*bound.args, **bound.kwargs)
  except (TypeError, AttributeError, LookupError) as error:
    place = traceback.extract_tb(error.__traceback__)[-1]
    raise ValueError(
      f'{field} must fit {name}: {type(error).__name__}: {error}, in '
      f'{place.filename} line {place.lineno}.'
    ) from error
