"""Overrides and JSON for frozen, nested dataclass configs.

Types come from the fields' annotations, so that they are declared once.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import difflib
import itertools
import json
import math
import types
import typing
from typing import Any, TypeVar

from rlt_jax.renamed import RENAMED

Config = TypeVar('Config')

_BOOLS = {'true': True, 'false': False}
_NONE = 'none'


def override(config: Config, assignments: Sequence[str]) -> Config:
  """Returns `config` with each 'a.b=value' applied.

  All changes to one dataclass are made at once, so that its checks see the
  final values only. If a field is set twice, the last value counts.

  Args:
    config: a frozen dataclass; fields may be dataclasses themselves.
    assignments: 'path=value'. Values are read by the field's type: int,
      finite float, true/false, str, comma-separated tuples (brackets
      optional), and 'none' where the field is optional.

  Raises:
    ValueError: no '=', an unknown field (its new name or the nearest real one
      is named, and the real ones are listed), or a value of the wrong type
      (field, expected type and value are named).
  """
  changes: dict[str, Any] = {}
  for assignment in assignments:
    path, equals, text = assignment.partition('=')
    if not equals or not path.strip():
      raise ValueError(
        "A setting must read 'field=value', such as 'agent.beta=0.01': "
        f'{assignment!r}.'
      )
    names = path.strip().split('.')
    hint = _field_type(config, names)
    _insert(changes, names, _parse(hint, text.strip(), path.strip()))
  return _replace(config, changes)


def differences(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
  """Returns the dotted paths of the fields that differ, with both values.

  Args:
    before, after: configs of one class; so must nested ones be.
  """
  found = {}
  for name in _field_names(type(before)):
    old, new = getattr(before, name), getattr(after, name)
    if dataclasses.is_dataclass(old) and type(old) is type(new):
      nested = differences(old, new).items()
      found |= {f'{name}.{path}': values for path, values in nested}
    elif old != new:
      found[name] = (old, new)
  return found


def spell(value: Any) -> str:
  """Returns a value as `override` reads it."""
  if isinstance(value, tuple):
    return ','.join(map(spell, value))
  if value is None or isinstance(value, bool):
    return str(value).lower()
  return str(value)


def to_json(config: Any) -> str:
  """Returns `config` as indented JSON, fields in declaration order.

  Fields added after a release set `metadata={'absent': value}`: that value is
  assumed for files without the field, and not written.

  Raises:
    ValueError: `config` is no dataclass or holds a number JSON cannot write.
  """
  if not dataclasses.is_dataclass(config) or isinstance(config, type):
    raise ValueError(f'A config must be a dataclass instance: {config!r}.')
  return json.dumps(_to_plain(config), indent=2, allow_nan=False)


def from_json(
  cls: type[Config], text: str, nested: Mapping[str, type] | None = None
) -> Config:
  """Returns the `cls` that `to_json` wrote.

  Strict: a missing field is not filled from its default, because the default
  may have changed since the file was written; only from its 'absent' value.

  Args:
    cls: a dataclass.
    text: JSON.
    nested: fields of `cls` -> their class, where it is not the annotation.

  Raises:
    ValueError: an unknown, missing or wrongly typed field, each named, or a
      name that comes twice.
  """
  plain = json.loads(text, object_pairs_hook=_distinct)
  return _dataclass_from_plain(cls, plain, cls.__name__, nested)


def from_arguments(
  cls: type[Config], arguments: Mapping[str, Any], path: str
) -> Config:
  """Returns a `cls` of arguments in a JSON file; defaults fill what is absent.

  Args:
    cls: a dataclass.
    arguments: plain values by field, as `json.loads` returns them.
    path: of the arguments in their file, for messages.

  Raises:
    ValueError: an unknown, missing or wrongly typed field, each named.
  """
  fields = [x for x in dataclasses.fields(cls) if x.init]
  names = [x.name for x in fields]
  unknown = sorted(set(arguments) - set(names))
  missing = [
    x.name
    for x in fields
    if x.name not in arguments
    and x.default is dataclasses.MISSING
    and x.default_factory is dataclasses.MISSING
  ]
  if unknown or missing:
    raise ValueError(
      f'{path} must be among {names}; unknown {unknown}, missing {missing}.'
    )
  hints = typing.get_type_hints(cls)
  return cls(**{
    name: _from_plain(hints[name], value, f'{path}.{name}')
    for name, value in arguments.items()
  })  # fmt: skip


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """Returns a JSON object; a name that comes twice would hide a value."""
  found = {}
  for name, value in pairs:
    if name in found:
      raise ValueError(f'A name must come once in an object: {name!r}.')
    found[name] = value
  return found


def _field_names(cls: type) -> list[str]:
  return [f.name for f in dataclasses.fields(cls) if f.init]


def _field_type(root: Any, names: Sequence[str]) -> Any:
  """Returns the annotation at the end of a dotted path below a config.

  Below a nested config it is that of the config's own class, which may have
  more fields than the class that the field is annotated with.
  """
  config = root
  for depth, name in enumerate(names):
    cls = type(config)
    if name not in _field_names(cls):
      raise ValueError(
        f'{cls.__name__} has no field {name!r}; '
        f'{_suggestion(root, names)}it has {_field_names(cls)}.'
      )
    hint = typing.get_type_hints(cls)[name]
    if depth == len(names) - 1:
      return hint
    config = getattr(config, name)
    if not dataclasses.is_dataclass(config):
      path = '.'.join(names[: depth + 1])
      raise ValueError(
        f'Only a dataclass has fields to set: {path} is {_spell(hint)}.'
      )
  raise AssertionError('names must not be empty')


def _paths(root: Any) -> list[str]:
  """Returns the dotted path of every field, those above first.

  Args:
    root: a config, or a class of configs.
  """
  if isinstance(root, type):
    children = typing.get_type_hints(root)
    names = _field_names(root)
  else:
    names = _field_names(type(root))
    children = {name: getattr(root, name) for name in names}
  nested = [x for x in names if dataclasses.is_dataclass(children[x])]
  return names + [f'{x}.{path}' for x in nested for path in _paths(children[x])]


def _suggestion(root: Any, names: Sequence[str]) -> str:
  """Returns a hint at the field that was probably meant, or ''.

  Args:
    root: the config, or its class.
    names: the path that is not below it.
  """
  paths = _paths(root)
  # Each name in the path may be an old or a new one.
  for new in itertools.product(*((x, RENAMED.get(x, x)) for x in names)):
    if '.'.join(new) in paths:
      return f'it is now {".".join(new)!r}; '
  *above, name = names
  last = {path: path.rpartition('.')[2] for path in paths}
  same = (name, RENAMED.get(name))
  exact = [path for path in paths if last[path] in same]
  siblings = [x for x in paths if x.rpartition('.')[0] == '.'.join(above)]
  for candidates in (siblings, paths):
    near = difflib.get_close_matches(name, [last[x] for x in candidates], n=1)
    exact += [x for x in candidates if near and last[x] == near[0]]
  return f'did you mean {exact[0]!r}? ' if exact else ''


def _insert(changes: dict[str, Any], names: Sequence[str], value: Any) -> None:
  for name in names[:-1]:
    changes = changes.setdefault(name, {})
  changes[names[-1]] = value


def _replace(config: Any, changes: Mapping[str, Any]) -> Any:
  values = {}
  for name, value in changes.items():
    child = getattr(config, name)
    nested = dataclasses.is_dataclass(child)
    values[name] = _replace(child, value) if nested else value
  return dataclasses.replace(config, **values)


def _optional(hint: Any) -> Any | None:
  """Returns X for `X | None`, else None."""
  if typing.get_origin(hint) not in (typing.Union, types.UnionType):
    return None
  members = [a for a in typing.get_args(hint) if a is not types.NoneType]
  return members[0] if len(members) == 1 else None


def _spell(hint: Any) -> str:
  return hint.__name__ if isinstance(hint, type) else str(hint)


def _wrong(path: str, hint: Any, value: Any) -> ValueError:
  if dataclasses.is_dataclass(hint):
    return ValueError(
      f'{path} must be set field by field ({_field_names(hint)}): {value!r}.'
    )
  return ValueError(f'{path} must be {_spell(hint)}: {value!r}.')


def _parse(hint: Any, text: str, path: str) -> Any:
  """Reads `text` as `hint`; the error names path, type and value."""
  inner = _optional(hint)
  if inner is not None:
    return None if text.lower() == _NONE else _parse(inner, text, path)
  if hint is str:
    return text
  if hint is bool and text.lower() in _BOOLS:
    return _BOOLS[text.lower()]
  if hint in (int, float):
    try:
      value = hint(text)
    except ValueError:
      raise _wrong(path, hint, text) from None
    if not math.isfinite(value):
      raise ValueError(f'{path} must be finite: {text!r}.')
    return value
  if typing.get_origin(hint) is tuple:
    bare = text[1:-1] if text[:1] + text[-1:] in ('()', '[]') else text
    parts = [part.strip() for part in bare.rstrip(', ').split(',') if bare]
    hints = _item_types(hint, parts, path)
    pairs = zip(hints, parts, strict=True)
    return tuple(_parse(item, part, path) for item, part in pairs)
  raise _wrong(path, hint, text)


def _item_types(hint: Any, items: Sequence[Any], path: str) -> Sequence[Any]:
  """Returns one type per item of a tuple annotation."""
  args = typing.get_args(hint)
  if len(args) == 2 and args[1] is Ellipsis:
    return [args[0]] * len(items)
  if len(args) != len(items):
    raise _wrong(path, hint, tuple(items))
  return args


def _to_plain(value: Any) -> Any:
  """Returns a config as dicts, lists and values that JSON can write."""
  if isinstance(value, tuple):
    return [_to_plain(item) for item in value]
  if not dataclasses.is_dataclass(value):
    return value
  absent = _absent(type(value))
  plain = {
    f.name: _to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)
  }
  return {
    name: child
    for name, child in plain.items()
    if name not in absent or child != absent[name]
  }


def _absent(cls: type) -> dict[str, Any]:
  """Returns the values that fields have in a file that lacks them."""
  return {
    f.name: f.metadata['absent']
    for f in dataclasses.fields(cls)
    if 'absent' in f.metadata
  }


def _from_plain(hint: Any, value: Any, path: str) -> Any:
  """Builds `hint` from what `json.loads` returned."""
  inner = _optional(hint)
  if inner is not None:
    return None if value is None else _from_plain(inner, value, path)
  if dataclasses.is_dataclass(hint):
    return _dataclass_from_plain(hint, value, path)
  if typing.get_origin(hint) is tuple and isinstance(value, list):
    hints = _item_types(hint, value, path)
    pairs = zip(hints, value, strict=True)
    return tuple(_from_plain(item, entry, path) for item, entry in pairs)
  # The values of a mapping are free: they are not checked here.
  if typing.get_origin(hint) is Mapping and isinstance(value, dict):
    return value
  # `to_json` writes 1.0, but a file edited by hand may have 1.
  if hint is float and type(value) is int:
    return float(value)
  if isinstance(hint, type) and type(value) is hint:
    return value
  raise _wrong(path, hint, value)


def _dataclass_from_plain(
  cls: type,
  value: Any,
  path: str,
  nested: Mapping[str, type] | None = None,
) -> Any:
  if not isinstance(value, dict):
    raise ValueError(f'{path} must be a {cls.__name__} object: {value!r}.')
  value = _absent(cls) | value
  names = _field_names(cls)
  unknown = sorted(set(value) - set(names))
  missing = [name for name in names if name not in value]
  if unknown:
    now = {x: RENAMED[x] for x in unknown if RENAMED.get(x) in names}
    hint = ''.join(f'{old!r} is now {new!r}; ' for old, new in now.items())
    raise ValueError(
      f'{cls.__name__} has no field {unknown[0]!r}; {hint}it has {names}.'
    )
  if missing:
    raise ValueError(f'{cls.__name__} must give every field: no {missing}.')
  hints = typing.get_type_hints(cls) | dict(nested or {})
  return cls(
    **{
      name: _from_plain(hints[name], value[name], f'{path}.{name}')
      for name in names
    }
  )
