import io
import struct
import zlib

import numpy as np
import pytest

from rlt_jax.robot.recording import record_format

_ARRAYS = {
  'z_rl': np.linspace(0, 1, 6, dtype=np.float32),
  'image': np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
  'valid': np.array([True, False]),
  'empty': np.zeros((0, 3), np.float64),
  'source': np.int32(2),
  'foreign': np.arange(3, dtype='>i8'),
}


def _payload(record: bytes) -> bytes:
  return record[8:]


def test_arrays_come_back_as_they_were():
  entry = record_format.unpack(
    _payload(record_format.pack('row', {'t': 1.5}, _ARRAYS))
  )
  assert (entry.kind, entry.meta) == ('row', {'t': 1.5})
  assert list(entry.arrays) == list(_ARRAYS)
  for name, value in _ARRAYS.items():
    found = entry.arrays[name]
    np.testing.assert_array_equal(found, value)
    assert found.shape == np.shape(value)
    assert found.dtype == np.asarray(value).dtype.newbyteorder('<')
  entry.arrays['z_rl'][0] = 9.0  # may be changed


@pytest.mark.parametrize(
  'value', [np.array([None]), np.array(['a']), np.array([(1,)], [('a', 'i4')])]
)
def test_other_dtypes_are_refused(value):
  with pytest.raises(ValueError, match='x must hold plain numbers'):
    record_format.pack('row', None, {'x': value})


@pytest.mark.parametrize('meta', [float('nan'), {'x': np.zeros(2)}])
def test_meta_must_be_json(meta):
  with pytest.raises(ValueError, match='meta must be JSON'):
    record_format.pack('row', meta, {})


@pytest.mark.parametrize(
  'header',
  [
    b'{"a": 1}',
    b'["row", null, [["x", "|O", [1]]]]',
    b'["row", null, [["x", "<f8", [2]]]]',
    b'["row", null, [["x", "<f8", [-1]]]]',
    b'["row", null, [["x", "<f4", [1]]]]',
    b'not json',
  ],
)
def test_foreign_payloads_are_refused(header):
  payload = struct.pack('<I', len(header)) + header + bytes(8)
  with pytest.raises(ValueError, match='must be one of pack'):
    record_format.unpack(payload)


def test_reading_stops_at_an_incomplete_record():
  record = record_format.pack('row', None, {'x': np.arange(4)})
  for rest in (record[:-1], record[:5], bytes(4096), b'\xff' * 64, b''):
    file = io.BytesIO(record + rest)
    assert list(record_format.read(file)) == [_payload(record)]
    assert file.tell() == len(record)


def test_any_flipped_bit_is_noticed():
  record = record_format.pack(
    'row', {'a': 1}, {'x': np.arange(3, dtype=np.int16)}
  )
  for i in range(8 * len(record)):
    changed = bytearray(record)
    changed[i // 8] ^= 1 << i % 8
    assert not list(record_format.read(io.BytesIO(changed)))
  assert zlib.crc32(_payload(record)) == struct.unpack('<I', record[4:8])[0]


def test_records_are_found_by_their_lengths():
  record = record_format.pack('row', None, {'x': np.arange(4)})
  size = 3 * len(record)
  file = io.BytesIO(3 * record + record[:-1])
  assert list(record_format.skip(file, size + len(record) - 1)) == [
    0,
    len(record),
    2 * len(record),
  ]
