import msgpack
import numpy as np
import pytest

from rlt_jax.serving import codec
from rlt_jax.serving.codec import MessageError

# {'x': array([[1, 2]], uint8), 's': float32(0.5), 'n': [None, True, 'é']},
# byte by byte as msgpack's specification has them.
_GOLDEN = (
  b'\x83'
  b'\xa1x\x84'
  b'\xc4\x0b__ndarray__\xc3'
  b'\xc4\x04data\xc4\x02\x01\x02'
  b'\xc4\x05dtype\xa3|u1'
  b'\xc4\x05shape\x92\x01\x02'
  b'\xa1s\x83'
  b'\xc4\x0d__npgeneric__\xc3'
  b'\xc4\x04data\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00'
  b'\xc4\x05dtype\xa3<f4'
  b'\xa1n\x93\xc0\xc3\xa2\xc3\xa9'
)


def golden():
  return {
    'x': np.array([[1, 2]], np.uint8),
    's': np.float32(0.5),
    'n': [None, True, 'é'],
  }


def tagged(data=b'\0\0\0\0', dtype='<f4', shape=(1,), **extra) -> bytes:
  array = {b'__ndarray__': True, b'data': data, b'dtype': dtype}
  array |= {b'shape': shape} | {k.encode(): v for k, v in extra.items()}
  return msgpack.packb({'x': array})


def scalar(data, dtype) -> bytes:
  return msgpack.packb(
    {'x': {b'__npgeneric__': True, b'data': data, b'dtype': dtype}}
  )


def test_the_bytes_are_openpis():
  assert codec.pack(golden()) == _GOLDEN


def test_the_golden_frame_reads_back():
  message = codec.unpack(_GOLDEN)
  assert message['n'] == [None, True, 'é']
  assert message['x'].dtype == np.uint8 and message['x'].shape == (1, 2)
  np.testing.assert_array_equal(message['x'], [[1, 2]])
  assert isinstance(message['s'], np.float32) and message['s'] == 0.5


@pytest.mark.parametrize(
  'array',
  [
    np.zeros((0, 3), np.float32),
    np.array(2.5),
    np.arange(12, dtype='>i4').reshape(3, 4).T,
    np.array([True, False]),
    np.arange(6, dtype=np.float16).reshape(1, 2, 3)[:, ::-1],
    np.array([np.nan, np.inf]),
  ],
)
def test_arrays_come_back_as_writable_copies(array):
  frame = codec.pack({'a': {'b': [array]}})
  out = codec.unpack(frame)['a']['b'][0]
  np.testing.assert_array_equal(out, array)
  assert out.shape == array.shape
  assert out.dtype == array.dtype.newbyteorder('=')
  assert out.flags.writeable and out.flags.c_contiguous
  out[...] = 0
  np.testing.assert_array_equal(codec.unpack(frame)['a']['b'][0], array)


@pytest.mark.parametrize(
  'value', [np.bool_(True), np.int8(-3), np.uint64(2**64 - 1), np.float32(0.1)]
)
def test_scalars_keep_their_dtype(value):
  out = codec.unpack(codec.pack({'x': value}))['x']
  assert out == value and out.dtype == value.dtype


@pytest.mark.parametrize(
  'message, rule',
  [
    ([1], 'A message must be a dict: list'),
    ({'x': np.array([object()])}, 'bool, integer or float: object'),
    ({'x': np.zeros(2, 'c8')}, 'bool, integer or float: complex64'),
    ({'x': np.zeros(2, 'V4')}, 'bool, integer or float'),
    ({'x': np.zeros(2, [('a', 'f4')])}, 'bool, integer or float'),
    ({'x': np.array(['a'])}, 'bool, integer or float'),
    ({'x': 1j}, 'plain values: complex'),
    ({'x': {1, 2}}, 'plain values: set'),
    ({1: 2}, 'keys of a dict must be str: 1'),
    ({b'__ndarray__': True}, 'keys of a dict must be str'),
    ({'x': 2**64}, 'valid msgpack'),
    ({'x': '\ud800'}, 'valid msgpack'),
    ({'x': [0] * 1025}, 'at most 1024 entries: 1025'),
    ({'x': np.zeros(9 << 20, np.uint8)}, 'at most 8388608 bytes: 9437184'),
    ({'x': np.zeros((1,) * 9)}, 'at most 8 dimensions: 9'),
    ({'x': b'\0' * (17 << 20)}, 'frame must have at most 16777216 bytes'),
  ],
)
def test_pack_refuses(message, rule):
  with pytest.raises(MessageError, match=rule):
    codec.pack(message)


@pytest.mark.parametrize(
  'frame, rule',
  [
    (b'', 'valid msgpack'),
    ('{}', 'binary frame: str'),
    (_GOLDEN[:-1], 'valid msgpack'),
    (_GOLDEN + b'\0', 'valid msgpack'),
    (b'\x90', 'A message must be a dict: list'),
    (b'\x81\x01\x02', 'valid msgpack'),
    (b'\x82\xa1x\x01\xa1x\x02', 'keys of a dict must be distinct'),
    (msgpack.packb({'x': msgpack.ExtType(5, b'ab')}), 'extensions: 5'),
    (msgpack.packb({'x': msgpack.Timestamp(0)}), 'extensions: -1'),
    (tagged(dtype='O'), 'dtype of an array must be'),
    (tagged(dtype='|V4'), 'dtype of an array must be'),
    (tagged(dtype='<c8'), 'dtype of an array must be'),
    (tagged(dtype=['<f4']), 'dtype of an array must be'),
    (tagged(shape=(2,)), r'must fit its 4 bytes: \[2\]'),
    (tagged(shape=(-1,)), 'integers from 0 on'),
    (tagged(shape=(-1, -1)), 'integers from 0 on'),
    (tagged(shape=(True,)), 'integers from 0 on'),
    (tagged(shape=1), 'list of at most 8'),
    (tagged(shape=(1,) * 9), 'list of at most 8'),
    (tagged(b'', shape=(0, 2**62, 2**62)), 'NumPy must know the shape'),
    (tagged(b'\0' * (9 << 20), '|u1', (9 << 20,)), 'at most 8388608 bytes'),
    (tagged(data='abcd'), 'data of an array must be bytes'),
    (tagged(more=1), 'str keys or be a tagged array'),
    (msgpack.packb({'x': {b'__other__': True}}), 'be a tagged array'),
    (msgpack.packb({'x': {b'__ndarray__': False}}), 'be a tagged array'),
    (scalar(1.5, '<i4'), 'data of a scalar must be int32'),
    (scalar(True, '<i4'), 'data of a scalar must be int32'),
    (scalar(300, '|u1'), 'must fit uint8'),
    (scalar(1e300, '<f4'), 'must fit float32'),
    (scalar(b'a', '|S1'), 'dtype of an array must be'),
  ],
)
def test_unpack_refuses(frame, rule):
  with pytest.raises(MessageError, match=rule):
    codec.unpack(frame)


@pytest.mark.parametrize('opening', [b'\x81\xa1x', b'\x91'])
@pytest.mark.parametrize('levels', [8, 100, 100_000])
def test_deep_nesting_is_refused(opening, levels):
  with pytest.raises(MessageError):
    codec.unpack(b'\x81\xa1x' + opening * levels + b'\xc0')


def test_seven_levels_below_the_first_are_fine():
  message = None
  for _ in range(codec.MAX_DEPTH):
    message = {'x': message}
  assert codec.unpack(codec.pack(message)) == message
  with pytest.raises(MessageError, match='at most 8 levels'):
    codec.pack({'x': message})


@pytest.mark.parametrize('element', [b'\x90', b'\x80', b'\x91\x90'])
def test_a_small_frame_cannot_become_a_large_message(element):
  inner = b'\xdc\x03\xe8' + element * 1000  # a list of a thousand
  frame = b'\x81\xa1x\xdc\x03\xe8' + inner * 1000
  with pytest.raises(MessageError, match='at most 1024 dicts and lists'):
    codec.unpack(frame)
  long = b'\x81\xa1x\xdd\x00\x10\x00\x00' + b'\xc0' * (1 << 20)
  with pytest.raises(MessageError, match='within the caps'):
    codec.unpack(long)


def test_random_bytes_raise_nothing_but_wire_errors():
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(2000):
    frame = b'\x81\xa1x' + rng.bytes(int(rng.integers(0, 40)))
    try:
      codec.unpack(frame)
    except MessageError:
      refused += 1
  assert refused > 1000


def test_mutated_frames_raise_nothing_but_wire_errors():
  rng = np.random.default_rng(1)
  refused = 0
  for _ in range(2000):
    frame = bytearray(_GOLDEN)
    for _ in range(int(rng.integers(1, 4))):
      where = int(rng.integers(len(frame)))
      action = rng.integers(3)
      if action == 0:
        frame[where] = int(rng.integers(256))
      elif action == 1:
        del frame[where : where + int(rng.integers(1, 6))]
      else:
        frame[where:where] = rng.bytes(3)
    try:
      codec.unpack(bytes(frame))
    except MessageError:
      refused += 1
  assert refused > 1000


def _openpi_array(value):
  """Packs an array as openpi's msgpack_numpy does."""
  value = np.asarray(value)
  fields = {
    b'__ndarray__': True,
    b'data': value.tobytes(),
    b'dtype': value.dtype.str,
    b'shape': value.shape,
  }
  return msgpack.packb({'prompt': fields})


@pytest.mark.parametrize('text', ['insert', '', 'größer → 零', 'a' * 4000])
def test_openpis_prompt_array_is_a_str(text):
  array = np.asarray(text)
  for value in (array, array.astype(array.dtype.newbyteorder('>')), [text]):
    message = codec.unpack(_openpi_array(value))
    assert message == {'prompt': text} and type(message['prompt']) is str


@pytest.mark.parametrize(
  'change',
  [
    {b'dtype': '<U7'},
    {b'dtype': '|U6'},
    {b'dtype': '<U'},
    {b'dtype': '<U' + '9' * 50},
    {b'dtype': '<U-1'},
    {b'shape': [2]},
    {b'shape': None},
    {b'data': 'insert'},
    {b'data': b'\xff' * 24},
  ],
)
def test_a_text_that_is_none_is_refused(change):
  fields = msgpack.unpackb(_openpi_array('insert'))['prompt'] | change
  with pytest.raises(codec.MessageError, match='text|UTF-32'):
    codec.unpack(msgpack.packb({'prompt': fields}))
