"""Arrays as bytes with a checksum: the records of a journal's files.

A record is the length of its payload and the payload's CRC-32 (both uint32,
little-endian), then the payload: the length of a JSON header (uint32), the
header, and the arrays' bytes one after another. No pickle.
"""

from collections.abc import Iterator, Mapping
import json
import math
import struct
from typing import Any, BinaryIO, NamedTuple
import zlib

import numpy as np

_FRAME = struct.Struct('<II')  # length, CRC-32
_LENGTH = struct.Struct('<I')
MIN_BYTES = _FRAME.size + _LENGTH.size
_MAX_PAYLOAD = 1 << 30
_DTYPES = frozenset(
  np.dtype(name).newbyteorder('<').str
  for name in (
    'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32',
    'uint64', 'float16', 'float32', 'float64',
  )
)  # fmt: skip


class Entry(NamedTuple):
  """One record. kind: its purpose. meta: anything that JSON can hold."""

  kind: str
  meta: Any
  arrays: dict[str, np.ndarray]


def pack(kind: str, meta: Any, arrays: Mapping[str, np.ndarray]) -> bytes:
  """Returns a record.

  Raises:
    ValueError: an array's dtype is not a plain number, meta is not JSON (as
      with NaN), or the record has more than 1 GiB.
  """
  layout, data = [], []
  for name, value in arrays.items():
    value = np.asarray(value)
    value = value.astype(value.dtype.newbyteorder('<'), copy=False)
    if value.dtype.str not in _DTYPES:
      raise ValueError(f'{name} must hold plain numbers: {value.dtype}.')
    layout.append([name, value.dtype.str, value.shape])
    data.append(value.tobytes())
  try:
    header = json.dumps([kind, meta, layout], allow_nan=False).encode()
  except (TypeError, ValueError) as error:
    raise ValueError(f'meta must be JSON: {error}.') from None
  payload = b''.join([_LENGTH.pack(len(header)), header, *data])
  if len(payload) > _MAX_PAYLOAD:
    raise ValueError(
      f'A record must have at most {_MAX_PAYLOAD} bytes: {len(payload)}.'
    )
  return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def unpack(payload: bytes) -> Entry:
  """Returns what `pack` was given; the arrays may be changed.

  Raises:
    ValueError: the payload is not one of `pack`.
  """
  try:
    (length,) = _LENGTH.unpack_from(payload)
    start = _LENGTH.size + length
    kind, meta, layout = json.loads(payload[_LENGTH.size : start])
    arrays = {}
    for name, dtype, shape in layout:
      if dtype not in _DTYPES:
        raise ValueError(f'dtype {dtype!r}')
      if any(length < 0 for length in shape):  # NumPy reads -1 as "the rest"
        raise ValueError(f'shape {shape}')
      count = math.prod(shape)
      flat = np.frombuffer(payload, dtype, count, start)
      arrays[name] = flat.reshape(shape).copy()
      start += flat.nbytes
    if start != len(payload):
      raise ValueError(f'{len(payload) - start} bytes left over')
  except (ValueError, TypeError, KeyError, struct.error) as error:
    raise ValueError(f'A payload must be one of pack(): {error}.') from None
  return Entry(kind, meta, arrays)


def read(file: BinaryIO) -> Iterator[bytes]:
  """Yields the payloads of the whole records before the first damaged one.

  Afterwards the file is positioned after the last whole record.
  """
  while True:
    start = file.tell()
    payload = _payload(file)
    if payload is None:
      file.seek(start)
      return
    yield payload


def skip(file: BinaryIO, size: int) -> Iterator[int]:
  """Yields the position of each record up to `size`; reads lengths only."""
  start = file.tell()
  while start + MIN_BYTES <= size:
    file.seek(start)
    length, _ = _FRAME.unpack(file.read(_FRAME.size))
    if length < _LENGTH.size or start + _FRAME.size + length > size:
      return
    yield start
    start += _FRAME.size + length


def _payload(file: BinaryIO) -> bytes | None:
  frame = file.read(_FRAME.size)
  if len(frame) < _FRAME.size:
    return None
  length, crc = _FRAME.unpack(frame)
  # Zeros, which a power cut may leave, would pass as an empty record.
  if not _LENGTH.size <= length <= _MAX_PAYLOAD:
    return None
  payload = file.read(length)
  if len(payload) < length or zlib.crc32(payload) != crc:
    return None
  return payload
