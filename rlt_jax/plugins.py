"""Opens a task, a VLA or an agent by its name, or as 'module:function'."""

from collections.abc import Callable, Mapping
import dataclasses
import importlib
import inspect
import sys
import typing
from typing import Any


def load_object(text: str, *, shipped: Mapping[str, str], what: str) -> Any:
  """Returns the object that a text names.

  Args:
    text: a name of `shipped`, or 'module:attribute' of one's own. The module
      is imported; the folder that the program was started in is searched too.
    shipped: name -> 'module:attribute'.
    what: for messages, such as 'a task'.

  Raises:
    ValueError: the text is neither, or cannot be imported.
  """
  path = shipped.get(text, text)
  module, colon, name = path.partition(':')
  if not (module and colon and name) or ':' in name:
    raise ValueError(
      f'{what} must be one of {sorted(shipped)}, or your own as '
      f"'module:function': {text!r}."
    )
  if '' not in sys.path:
    sys.path.append('')  # so that an installed script finds it too
  try:
    found = importlib.import_module(module)
  except ImportError as error:
    raise ValueError(
      f"{what} must be 'module:function' of a module that can be imported: "
      f'{text!r} ({error}).'
    ) from error
  if not hasattr(found, name):
    raise ValueError(
      f"{what} must be 'module:function', and {module} has no {name!r}: "
      f'{text!r}.'
    )
  return getattr(found, name)


def config_class(function: Callable[..., Any], what: str) -> type | None:
  """Returns the dataclass that `function(config: ...)` is annotated with.

  Returns None for a function without a parameter of that name.

  Raises:
    ValueError: not callable, or the annotation is not a frozen dataclass all
      of whose fields have defaults.
  """
  if not callable(function):
    raise ValueError(f'{what} must be a function: {function!r}.')
  if 'config' not in inspect.signature(function).parameters:
    return None
  found = typing.get_type_hints(function).get('config')
  members = [x for x in typing.get_args(found) if x is not type(None)]
  if len(members) == 1:  # config: SomeConfig | None
    found = members[0]
  name = getattr(function, '__qualname__', repr(function))
  if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
    raise ValueError(
      f'{what} must annotate its parameter config with a frozen dataclass: '
      f'{name} has {found!r}.'
    )
  frozen = found.__dataclass_params__.frozen
  without = [
    field.name
    for field in dataclasses.fields(found)
    if field.init
    and field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  ]
  if not frozen or without:
    raise ValueError(
      f'{what} must have a frozen config whose fields all have defaults: '
      f'{found.__name__} is {"frozen" if frozen else "not frozen"}, without '
      f'defaults {without}.'
    )
  return found


def check_type(found: Any, expected: type, text: str, what: str) -> None:
  """Raises a ValueError unless `text`'s function returned what it must."""
  if not isinstance(found, expected):
    raise ValueError(
      f'{what} must be a function that returns a {expected.__name__}: '
      f'{text!r} returned a {type(found).__name__}.'
    )
