"""Messages of nested dicts and arrays, as openpi's peers read and write them.

A message is msgpack. An array is a map with bytes for keys: `__ndarray__`
(true), `data` (C order), `dtype` (NumPy's string), `shape`; a NumPy scalar is
`__npgeneric__` (true), `data` (a plain number), `dtype`. An array of one text,
as openpi's transforms make of a prompt, is read as a str. A frame may be
hostile: sizes are checked before anything is allocated, and every fault of a
frame raises `MessageError`.
"""

import math
from typing import Any

import msgpack
import numpy as np

MAX_FRAME_BYTES = 16 << 20
MAX_ARRAY_BYTES = 8 << 20
MAX_DEPTH = 8  # dicts and lists inside each other
MAX_DIMS = 8  # of an array
# A byte of msgpack can become an object of seventy: these two bound what a
# frame of the allowed size turns into.
MAX_ENTRIES = 1024  # of one dict or list
MAX_CONTAINERS = 1024  # dicts and lists of one message; an array counts twice

_NDARRAY, _GENERIC = b'__ndarray__', b'__npgeneric__'
_DATA, _DTYPE, _SHAPE = b'data', b'dtype', b'shape'
# By name, so that no string of a peer ever reaches NumPy's dtype parser.
_DTYPES = {
  np.dtype(order + code).str: np.dtype(order + code)
  for code in ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2')
  + ('f4', 'f8')
  for order in '<>'
}
_MAX_NAME = 12  # characters of the dtype of a text
_PLAIN = (bool, int, float, str, bytes)


class MessageError(Exception):
  """A message that breaks a rule of this module, named in the text."""


def pack(message: dict[str, Any]) -> bytes:
  """Returns the frame of a message.

  Args:
    message: dicts with str keys, lists, tuples, arrays and scalars of bool,
      integer or float dtype, None, bool, int, float, str and bytes.

  Raises:
    MessageError: anything else, or more than the caps of this module.
  """
  if not isinstance(message, dict):
    raise MessageError(f'A message must be a dict: {type(message).__name__}.')
  plain = _to_plain(message, 1)
  try:
    frame = msgpack.packb(plain)
  except (ValueError, OverflowError, TypeError) as error:
    raise MessageError(f'A message must be valid msgpack: {error}.') from None
  if len(frame) > MAX_FRAME_BYTES:
    raise MessageError(
      f'A frame must have at most {MAX_FRAME_BYTES} bytes: {len(frame)}.'
    )
  return frame


def unpack(frame: bytes) -> dict[str, Any]:
  """Returns the message of a frame.

  Lists and tuples come back as lists. Arrays are copies: writable, in C order
  and native byte order, and free of the frame's memory.

  Raises:
    MessageError: whatever is wrong with the frame.
  """
  if not isinstance(frame, bytes):
    raise MessageError(
      f'A message must be a binary frame: {type(frame).__name__}.'
    )
  if len(frame) > MAX_FRAME_BYTES:
    raise MessageError(
      f'A frame must have at most {MAX_FRAME_BYTES} bytes: {len(frame)}.'
    )
  count = _Count()
  try:
    plain = msgpack.unpackb(
      frame,
      object_pairs_hook=count.pairs,
      list_hook=count.items,
      ext_hook=_refuse_extension,
      max_array_len=MAX_ENTRIES,
      max_map_len=MAX_ENTRIES,
    )
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    # msgpack's own texts may quote the frame; its kind of error is enough.
    raise MessageError(
      f'A frame must be valid msgpack within the caps: {type(error).__name__}.'
    ) from None
  message = _from_plain(plain, 1)
  if not isinstance(message, dict):
    raise MessageError(f'A message must be a dict: {type(message).__name__}.')
  return message


class _Count:
  """Stops the parser once a message has too many containers."""

  def __init__(self):
    self._seen = 0

  def items(self, items: list) -> list:
    self._seen += 1
    if self._seen > MAX_CONTAINERS:
      raise MessageError(
        f'A message must have at most {MAX_CONTAINERS} dicts and lists.'
      )
    return items

  def pairs(self, pairs: list) -> dict:
    self.items(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
      raise MessageError('The keys of a dict must be distinct.')
    return found


def _refuse_extension(code: int, data: bytes) -> None:
  raise MessageError(f'A message must be free of msgpack extensions: {code}.')


def _to_plain(value: Any, depth: int) -> Any:
  # NumPy's float64 and str_ are Python's too, and openpi sends them as such.
  if value is None or isinstance(value, _PLAIN):
    return value
  if isinstance(value, (np.ndarray, np.generic)):
    return _array_to_plain(value)
  if not isinstance(value, (dict, list, tuple)):
    raise MessageError(
      'A message must hold dicts, lists, arrays and plain values: '
      f'{type(value).__name__}.'
    )
  _check_container(value, depth)
  if isinstance(value, dict):
    for key in value:
      _check_key(key)
    return {key: _to_plain(x, depth + 1) for key, x in value.items()}
  return [_to_plain(x, depth + 1) for x in value]


def _array_to_plain(value: np.ndarray | np.generic) -> dict[bytes, Any]:
  if value.dtype.str not in _DTYPES:
    raise MessageError(
      f'An array must be bool, integer or float: {value.dtype}.'
    )
  if isinstance(value, np.generic):
    return {_GENERIC: True, _DATA: value.item(), _DTYPE: value.dtype.str}
  if value.ndim > MAX_DIMS:
    raise MessageError(
      f'An array must have at most {MAX_DIMS} dimensions: {value.ndim}.'
    )
  _check_bytes(value.nbytes)
  return {
    _NDARRAY: True,
    _DATA: value.tobytes(),
    _DTYPE: value.dtype.str,
    _SHAPE: value.shape,
  }


def _from_plain(value: Any, depth: int) -> Any:
  if value is None or isinstance(value, _PLAIN):
    return value
  if not isinstance(value, (dict, list)):  # a timestamp
    raise MessageError('A message must be free of msgpack extensions: -1.')
  _check_container(value, depth)
  if isinstance(value, list):
    return [_from_plain(x, depth + 1) for x in value]
  if not any(isinstance(key, bytes) for key in value):
    return {key: _from_plain(x, depth + 1) for key, x in value.items()}
  if value.get(_NDARRAY) is True and len(value) == 4:
    return _read_array(*_fields(value, _DATA, _DTYPE, _SHAPE))
  if value.get(_GENERIC) is True and len(value) == 3:
    return _read_scalar(*_fields(value, _DATA, _DTYPE))
  raise MessageError('A dict must have str keys or be a tagged array.')


def _fields(value: dict, *names: bytes) -> list[Any]:
  for name in names:
    if name not in value:
      raise MessageError(f'A tagged array must have {name.decode()}.')
  return [value[name] for name in names]


def _read_array(data: Any, name: Any, shape: Any) -> np.ndarray | str:
  if isinstance(name, str) and name[1:2] == 'U':
    return _read_text(data, name, shape)
  dtype = _read_dtype(name)
  if not isinstance(data, bytes):
    raise MessageError(
      f'The data of an array must be bytes: {type(data).__name__}.'
    )
  if not isinstance(shape, list) or len(shape) > MAX_DIMS:
    raise MessageError(
      f'The shape of an array must be a list of at most {MAX_DIMS} numbers.'
    )
  if any(type(n) is not int or n < 0 for n in shape):
    raise MessageError('The shape of an array must be integers from 0 on.')
  _check_bytes(len(data))
  if math.prod(shape) * dtype.itemsize != len(data):
    raise MessageError(
      f'The shape of an array must fit its {len(data)} bytes: {shape}.'
    )
  try:
    array = np.frombuffer(data, dtype).reshape(shape)
  except (ValueError, OverflowError):  # empty, yet with an enormous side
    raise MessageError(f'NumPy must know the shape: {shape}.') from None
  return array.astype(dtype.newbyteorder('='))


def _read_text(data: Any, name: str, shape: Any) -> str:
  """Returns the text of an array of one; its dtype is such as '<U12'."""
  codec = {'<': 'utf-32-le', '>': 'utf-32-be'}.get(name[0])
  if codec is None or not name[2:].isdecimal() or len(name) > _MAX_NAME:
    raise MessageError("The dtype of a text must be NumPy's, such as <U12.")
  if shape not in ([], [1]) or not isinstance(data, bytes):
    raise MessageError('An array of text must hold one text.')
  if len(data) != 4 * int(name[2:]):
    raise MessageError(f'The bytes of a text must fit {name}: {len(data)}.')
  try:
    return data.decode(codec).rstrip('\0')
  except UnicodeDecodeError:
    raise MessageError('The text of an array must be valid UTF-32.') from None


def _read_scalar(data: Any, name: Any) -> np.generic | str:
  if isinstance(name, str) and name[1:2] == 'U' and isinstance(data, str):
    return data
  dtype = _read_dtype(name)
  kinds = {'b': bool, 'i': int, 'u': int, 'f': float}
  if type(data) is not kinds[dtype.kind]:
    raise MessageError(
      f'The data of a scalar must be {dtype.name}: {type(data).__name__}.'
    )
  try:
    with np.errstate(over='ignore'):
      scalar = dtype.type(data)
  except OverflowError:
    raise MessageError(f'The data of a scalar must fit {dtype.name}.') from None
  if scalar.item() != data and data == data:
    raise MessageError(f'The data of a scalar must fit {dtype.name}: {data}.')
  return scalar


def _read_dtype(name: Any) -> np.dtype:
  if not isinstance(name, str) or name not in _DTYPES:
    raise MessageError('The dtype of an array must be bool, integer or float.')
  return _DTYPES[name]


def _check_container(value: dict | list | tuple, depth: int) -> None:
  if depth > MAX_DEPTH:
    raise MessageError(f'A message must be at most {MAX_DEPTH} levels deep.')
  if len(value) > MAX_ENTRIES:
    raise MessageError(
      f'A dict or list must have at most {MAX_ENTRIES} entries: {len(value)}.'
    )


def _check_key(key: Any) -> None:
  if not isinstance(key, str):
    raise MessageError(f'The keys of a dict must be str: {key!r}.')


def _check_bytes(count: int) -> None:
  if count > MAX_ARRAY_BYTES:
    raise MessageError(
      f'An array must have at most {MAX_ARRAY_BYTES} bytes: {count}.'
    )
