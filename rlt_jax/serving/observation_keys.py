"""Observations under other names, as openpi's robot scripts send them.

A key map has one entry per key of ours that a client names otherwise:

  images/base=observation/image             an image under another name
  images/wrist=images/cam_high:chw          [3, S, S] instead of [S, S, 3]
  proprio=observation/state                 any float dtype
  proprio=observation/joint+observation/gripper    parts, one after another

Dicts inside a message are read as 'outer/inner'. Nothing else is changed:
sizes, units and the order of joints must be those of the server's metadata.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec

_CHW = ':chw'


class _Source(NamedTuple):
  """Where a key of ours comes from. parts: keys of the client."""

  parts: tuple[str, ...]
  channels_first: bool


def make(
  spec: ServingSpec, entries: Sequence[str]
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
  """Returns a function from a client's message to one of `serving.schema`.

  Args:
    spec: of the server.
    entries: 'our_key=their_key', see the module.

  Raises:
    ValueError: an entry that is no such text, names a key twice, or one that
      the server does not take. The function raises one for a message without
      a key, or with a part of another shape.
  """
  known = schema.request_keys(spec)
  sources: dict[str, _Source] = {}
  for entry in entries:
    ours, equals, theirs = entry.partition('=')
    first = theirs.endswith(_CHW)
    parts = tuple(theirs.removesuffix(_CHW).split('+'))
    if not equals or not all(parts):
      raise ValueError(
        "A key must read 'our_key=their_key', such as "
        f"'images/base=observation/image': {entry!r}."
      )
    if ours not in known or ours in sources:
      raise ValueError(
        f'A key must be one of {sorted(known)}, and come once: {ours!r}.'
      )
    image = ours.startswith(schema.IMAGE)
    if (first and not image) or (len(parts) > 1 and ours != 'proprio'):
      raise ValueError(
        f"Only images can be '{_CHW}', and only proprio can have parts: "
        f'{entry!r}.'
      )
    sources[ours] = _Source(parts, first)

  def read(message: Mapping[str, Any]) -> dict[str, Any]:
    flat = _flatten(message, '')
    found = {ours: _take(flat, source) for ours, source in sources.items()}
    if twice := sorted(set(found) & set(flat)):
      raise ValueError(f'A message must have a key once: {twice}.')
    return flat | found

  return read


def _flatten(message: Mapping[str, Any], above: str) -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for name, value in message.items():
    parts = {f'{above}{name}': value}
    if isinstance(value, dict):
      parts = _flatten(value, f'{above}{name}/')
    if twice := sorted(set(parts) & set(flat)):
      raise ValueError(f'A message must have a key once: {twice}.')
    flat |= parts
  return flat


def _take(flat: dict[str, Any], source: _Source) -> Any:
  """Removes the parts from a flat message and returns them as one value."""
  if missing := [name for name in source.parts if name not in flat]:
    raise ValueError(f'A message must have {missing}: it has {sorted(flat)}.')
  values = [flat.pop(name) for name in source.parts]
  if isinstance(values[0], str) and len(values) == 1:
    return values[0]
  for name, value in zip(source.parts, values, strict=True):
    if not isinstance(value, np.ndarray):
      raise ValueError(f'{name} must be an array: {type(value).__name__}.')
  if source.channels_first:
    if values[0].ndim < 3 or values[0].shape[-3] != 3:
      raise ValueError(
        f'{source.parts[0]} must have the shape (3, S, S): {values[0].shape}.'
      )
    return np.ascontiguousarray(np.moveaxis(values[0], -3, -1))
  if len(values) == 1 and values[0].dtype.kind != 'f':
    return values[0]
  for name, value in zip(source.parts, values, strict=True):
    if value.dtype.kind != 'f' or value.ndim not in (1, 2):
      raise ValueError(
        f'{name} must be floats of the shape (n,): {value.dtype} {value.shape}.'
      )
  return np.concatenate(values, axis=-1).astype(np.float32)
