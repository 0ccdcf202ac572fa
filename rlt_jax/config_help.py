"""Lists settings with their defaults and the comments in their classes.

A field's comment is on its own line, or on lines of its own right above it. It
gives the unit and the reason, and is declared only there.
"""

import ast
from collections.abc import Iterable, Iterator
import dataclasses
import inspect
import io
import textwrap
import tokenize
from typing import Any, NamedTuple

from rlt_jax import config as config_lib

_INDENT = ' ' * 6


class Setting(NamedTuple):
  """One setting.

  path: dotted, as `config.override` takes it. default: as it reads it. comment:
  in the source of its class; '' where there is none, or no source.
  """

  path: str
  default: str
  comment: str


def settings(config: Any, prefix: str = '') -> Iterator[Setting]:
  """Yields the settings of a config; those of nested ones after its own.

  Args:
    config: a dataclass instance; its values are the defaults.
    prefix: before the names of its fields, such as 'task.'.
  """
  notes = comments(type(config))
  nested = []
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      nested.append((f'{prefix}{field.name}.', value))
    elif field.init:
      yield Setting(
        prefix + field.name, config_lib.spell(value), notes.get(field.name, '')
      )
  for path, value in nested:
    yield from settings(value, path)


def comments(cls: type) -> dict[str, str]:
  """Returns the comment of each field of a dataclass, also inherited ones."""
  found = {}
  for base in reversed(cls.__mro__):
    if dataclasses.is_dataclass(base):
      try:
        source = textwrap.dedent(inspect.getsource(base))
      except (OSError, TypeError):  # a class without a file
        continue
      found |= _comments_in(source)
  return found


def describe(found: Iterable[Setting], width: int = 80) -> str:
  """Returns a text with two or more lines for each setting."""
  blocks = []
  for setting in found:
    lines = textwrap.wrap(
      setting.comment,
      width,
      initial_indent=_INDENT,
      subsequent_indent=_INDENT,
      break_on_hyphens=False,
    )
    blocks.append('\n'.join([f'  {setting.path}={setting.default}', *lines]))
  return '\n'.join(blocks)


def _comments_in(source: str) -> dict[str, str]:
  """Returns field -> comment in the source of one class."""
  by_line = {}  # line -> (whether the line has nothing else, text)
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      alone = not token.line[: token.start[1]].strip()
      text = token.string.lstrip('#').strip()
      by_line[token.start[0]] = (alone, '' if text.startswith('fmt:') else text)
  (body,) = ast.parse(source).body
  found = {}
  for node in body.body:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
      above, line = [], node.lineno - 1
      while line in by_line and by_line[line][0]:
        above.insert(0, by_line[line][1])
        line -= 1
      beside = [
        by_line[line][1]
        for line in range(node.lineno, node.end_lineno + 1)
        if line in by_line
      ]
      found[node.target.id] = ' '.join(filter(None, above + beside))
  return found
