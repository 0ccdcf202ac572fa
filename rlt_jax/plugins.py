"""Opens a task, a VLA or an agent by its name, or as 'module:function'."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import difflib
import functools
import importlib
import inspect
import sys
import traceback
from types import ModuleType
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
    near = difflib.get_close_matches(text.lower(), shipped, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise ValueError(
      f'{what} must be one of {sorted(shipped)}, or your own as '
      f"'module:function': {text!r}.{hint}"
    )
  if '/' in module or module.startswith('.') or module.endswith('.py'):
    raise ValueError(
      f"{what} must be 'module:function', with the module as an import "
      f"statement names it ('folder.file', without .py): {text!r}."
    )
  found = _import(module, text, what)
  if not hasattr(found, name):
    near = difflib.get_close_matches(name, vars(found), n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise ValueError(
      f"{what} must be 'module:function', and {module} has no {name!r}: "
      f'{text!r}.{hint}'
    )
  return getattr(found, name)


def _import(module: str, text: str, what: str) -> ModuleType:
  """Imports the module of a text; also from the folder of the start."""
  if '' not in sys.path:
    sys.path.append('')  # so that an installed script finds it too
  try:
    return importlib.import_module(module)
  except Exception as error:  # anything may be raised by the module's code
    raise ValueError(
      f"{what} must be 'module:function' of a module that can be imported: "
      f'{text!r} ({_describe(error)}).'
    ) from error


def _describe(error: Exception) -> str:
  """Returns an import's error; its place too if the module's code failed."""
  if isinstance(error, ImportError):
    return str(error)
  if isinstance(error, SyntaxError):  # names file and line itself
    return f'SyntaxError: {error}'
  place = traceback.extract_tb(error.__traceback__)[-1]
  return (
    f'{type(error).__name__}: {error}, in {place.filename} line {place.lineno}'
  )


def config_class(function: Callable[..., Any], what: str) -> type | None:
  """Returns the dataclass that `function(config: ...)` is annotated with.

  Returns None for a function without a parameter of that name.

  Raises:
    ValueError: not callable, or the annotation is not a frozen dataclass all
      of whose fields have defaults.
  """
  if not callable(function):
    raise ValueError(
      f"{what} must be 'module:function' of a function: it is {function!r}."
    )
  if 'config' not in inspect.signature(function).parameters:
    return None
  while isinstance(function, functools.partial):
    function = function.func
  try:
    found = typing.get_type_hints(function).get('config')
  except NameError as error:
    raise ValueError(
      f'{what} must annotate its parameter config with a class that its module '
      f'defines: {error}.'
    ) from error
  members = [x for x in typing.get_args(found) if x is not type(None)]
  if len(members) == 1:  # config: SomeConfig | None
    found = members[0]
  name = getattr(function, '__qualname__', repr(function))
  if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
    raise ValueError(
      f'{what} must annotate its parameter config with a frozen dataclass: '
      f'{name} has {found!r}.'
    )
  if not found.__dataclass_params__.frozen:
    raise ValueError(
      f'{what} must have a config that is a frozen dataclass: {found.__name__} '
      'is not frozen. Declare it with @dataclasses.dataclass(frozen=True, '
      'kw_only=True).'
    )
  without = [
    field.name
    for field in dataclasses.fields(found)
    if field.init
    and field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  ]
  if without:
    raise ValueError(
      f'{what} must have a config whose fields all have defaults: '
      f'{found.__name__} has none for {without}.'
    )
  return found


def check_parameters(
  function: Callable[..., Any], names: Sequence[str], text: str, what: str
) -> None:
  """Raises a ValueError unless a function can be called with these keywords.

  Args:
    function: that `text` names.
    names: of the keyword arguments.
    text, what: as for `load_object`.
  """
  try:
    inspect.signature(function).bind(**dict.fromkeys(names))
  except TypeError as error:
    raise ValueError(
      f'{what} must be a function with the parameters ({", ".join(names)}): '
      f'{text!r} ({error}).'
    ) from None


def check_type(found: Any, expected: type, text: str, what: str) -> None:
  """Raises a ValueError unless `text`'s function returned what it must."""
  if not isinstance(found, expected):
    raise ValueError(
      f'{what} must be a function that returns {_article(expected)}: '
      f'{text!r} returned {_article(type(found))}.'
    )


def _article(cls: type) -> str:
  return f'{"an" if cls.__name__[0] in "AEIOUaeiou" else "a"} {cls.__name__}'
