"""Messages as openpi's robot scripts make them."""

import numpy as np
import pytest

from rlt_jax.serving import codec, observation_keys, schema
from tests.robot.fakes import WIRE

_IMAGE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
_STATE = np.arange(6) / 8.0


def _read(entries, message):
  """Sends a message through the wire's codec, as a client does."""
  translate = observation_keys.make(WIRE, entries)
  return schema.read_request(WIRE, translate(codec.unpack(codec.pack(message))))


@pytest.mark.parametrize(
  'entries, message',
  [
    (
      ('images/wrist=observation/wrist_image', 'proprio=observation/state'),
      {'observation/wrist_image': _IMAGE, 'observation/state': _STATE},
    ),
    (
      ('images/wrist=images/cam_wrist:chw', 'proprio=state'),
      {'images': {'cam_wrist': _IMAGE.transpose(2, 0, 1)}, 'state': _STATE},
    ),
    (
      ('proprio=observation/joints+observation/gripper',),
      {
        'observation/joints': _STATE[:5],
        'observation/gripper': np.float32(_STATE[5:]),
        'images': {'wrist': _IMAGE},
      },
    ),
  ],
)
def test_openpis_names_are_read(entries, message):
  request = _read(entries, message | {'prompt': 'insert'})
  np.testing.assert_array_equal(request.images['wrist'], _IMAGE)
  np.testing.assert_array_equal(request.proprio, np.float32(_STATE))
  assert request.proprio.dtype == np.float32 and request.prompt == 'insert'


def test_a_prompt_may_have_another_name():
  entries = ('prompt=task', 'images/wrist=i', 'proprio=s')
  request = _read(entries, {'task': 'go', 'i': _IMAGE, 's': _STATE})
  assert request.prompt == 'go'


@pytest.mark.parametrize(
  'entry, message',
  [
    ('images/wrist', "'our_key=their_key'"),
    ('images/wrist=', "'our_key=their_key'"),
    ('proprio=a+', "'our_key=their_key'"),
    ('images/base=a', "one of .*'images/wrist'.* 'images/base'"),
    ('proprio=a:chw', "Only images can be ':chw'"),
    ('images/wrist=a+b', 'only proprio can have parts'),
  ],
)
def test_a_wrong_entry_is_refused(entry, message):
  with pytest.raises(ValueError, match=message):
    observation_keys.make(WIRE, [entry])
  with pytest.raises(ValueError, match='once'):
    observation_keys.make(WIRE, ['proprio=a', 'proprio=b'])


@pytest.mark.parametrize(
  'change, message',
  [
    ({'s': None}, "must have \\['s'\\]"),
    ({'s': 'text'}, 'missing \\[\\]|must be an array'),
    ({'s': np.zeros(5)}, r'proprio must have the shape \(6,\): \(5,\)'),
    ({'s': np.zeros(6, int)}, 'proprio must be float32: int64'),
    ({'i': _IMAGE}, r'must have the shape \(3, S, S\)'),
    ({'proprio': _STATE}, 'a key once'),
    ({'more': 1}, "unknown .*'more'"),
    ({'x': {'y': 1}, 'x/y': 2}, 'a key once'),
  ],
)
def test_a_message_that_does_not_fit_is_refused_by_name(change, message):
  whole = {'i': _IMAGE.transpose(2, 0, 1), 's': _STATE, 'prompt': 'insert'}
  given = {k: v for k, v in (whole | change).items() if v is not None}
  with pytest.raises(ValueError, match=message):
    _read(('images/wrist=i:chw', 'proprio=s'), given)
