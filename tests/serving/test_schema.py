import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.serving import codec, schema
from rlt_jax.serving.schema import ServingSpec

_FIELDS = {
  'cameras': ('base', 'wrist'),
  'image_size': 4,
  'proprio_dim': 6,
  'horizon': 5,
  'action_dim': 3,
  'z_dim': 7,
  'joint_names': ('a', 'b', 'c'),
  'action_mode': 'offset',
  'action_scale': (0.1, 0.2, 0.3),
  'vla_fingerprint': 'v',
  'token_fingerprint': 't',
}
_SPEC = ServingSpec(**_FIELDS)


_BATCHED = dataclasses.replace(
  _SPEC,
  control_hz=50.0,
  proprio_mean=(0.0,) * 6,
  proprio_std=(1.0,) * 6,
  max_batch=3,
  takes_noise=True,
)


def request(**changes) -> dict:
  image = np.zeros((4, 4, 3), np.uint8)
  message = {'images/base': image, 'images/wrist': image}
  message |= {'proprio': np.zeros(6, np.float32), 'prompt': 'plug it in'}
  return {k: v for k, v in (message | changes).items() if v is not None}


def reply(**changes) -> dict:
  chunk = np.zeros((5, 3), np.float32)
  message = {'actions': chunk, 'reference': chunk}
  message |= {'z_rl': np.zeros(7, np.float32)}
  message |= {'fingerprint': {'vla': 'v', 'token': 't'}}
  return {k: v for k, v in (message | changes).items() if v is not None}


def test_metadata_survives_serving():
  metadata = codec.unpack(codec.pack(_SPEC.metadata()))
  assert schema.read_metadata(metadata | {'reset_pose': [0.0]}) == _SPEC


def test_a_request_survives_serving():
  images = {
    name: np.full((4, 4, 3), i, np.uint8)
    for i, name in enumerate(_SPEC.cameras)
  }
  message = schema.make_request(
    _SPEC, images=images, proprio=np.arange(6.0), prompt='plug it in'
  )
  assert set(message) == set(request())
  out = schema.read_request(_SPEC, codec.unpack(codec.pack(message)))
  np.testing.assert_array_equal(out.images['wrist'], images['wrist'])
  np.testing.assert_array_equal(out.proprio, np.arange(6.0))
  assert out.proprio.dtype == np.float32 and out.prompt == 'plug it in'


def test_a_reply_survives_serving():
  actions = np.arange(15.0).reshape(5, 3)
  message = schema.make_reply(
    _SPEC, actions=actions, z_rl=np.ones(7), reference=-actions
  )
  message['server_timing'] = {'infer_ms': 1.0}
  out = schema.read_reply(_SPEC, codec.unpack(codec.pack(message)))
  np.testing.assert_array_equal(out.actions, actions)
  np.testing.assert_array_equal(out.z_rl, np.ones(7))
  np.testing.assert_array_equal(out.reference, -actions)


def _batch(size, **changes):
  images = {n: np.zeros((size, 4, 4, 3), np.uint8) for n in _SPEC.cameras}
  return schema.make_request(
    _BATCHED,
    images=images,
    proprio=np.zeros((size, 6)),
    prompt='plug it in',
    **changes,
  )


def test_a_batch_survives_serving():
  noise = np.arange(30.0).reshape(2, 5, 3)
  frame = codec.pack(_batch(2, noise=noise))
  out = schema.read_request(_BATCHED, codec.unpack(frame))
  assert out.batch_size == 2 and out.images['base'].shape == (2, 4, 4, 3)
  np.testing.assert_array_equal(out.noise, noise)
  message = schema.make_reply(
    _BATCHED, actions=noise, z_rl=np.ones((2, 7)), reference=-noise
  )
  reply = schema.read_reply(_BATCHED, codec.unpack(codec.pack(message)), 2)
  np.testing.assert_array_equal(reply.reference, -noise)
  with pytest.raises(ValueError, match=r'actions must have .*\(3, 5, 3\)'):
    schema.read_reply(_BATCHED, message, 3)


def test_a_batch_is_refused_by_its_rule():
  with pytest.raises(ValueError, match='must hold 1 to 3 observations: 4'):
    _batch(4)
  with pytest.raises(ValueError, match='must hold 1 to 1 observations: 2'):
    schema.read_request(_SPEC, _batch(2))
  with pytest.raises(ValueError, match=r'noise must have .*\(2, 5, 3\)'):
    _batch(2, noise=np.zeros((2, 5, 2)))
  with pytest.raises(ValueError, match=r"unknown \['noise'\]"):
    schema.read_request(_SPEC, request(noise=np.zeros((5, 3), np.float32)))


def test_a_server_may_leave_out_what_robots_do_not_need():
  assert schema.read_metadata(_FIELDS) == _SPEC
  metadata = codec.unpack(codec.pack(_BATCHED.metadata()))
  assert schema.read_metadata(metadata) == _BATCHED


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'images/wrist': None}, r"missing \['images/wrist'\], unknown \[\]"),
    ({'images/left': 1}, r"unknown \['images/left'\]"),
    ({'images/base': np.zeros((3, 4, 4), np.uint8)}, r'shape \(4, 4, 3\)'),
    ({'images/base': np.zeros((4, 4, 3))}, 'images/base must be uint8: float'),
    ({'proprio': np.zeros(5, np.float32)}, r'proprio must have .*: \(5,\)'),
    ({'proprio': np.zeros(6)}, 'proprio must be float32: float64'),
    ({'proprio': np.full(6, np.nan, 'f4')}, 'proprio must be finite'),
    ({'proprio': [0.0] * 6}, 'proprio must be an array: list'),
    ({'prompt': b'plug'}, 'prompt must be a str'),
  ],
)
def test_a_request_is_refused_by_name(changes, rule):
  with pytest.raises(ValueError, match=rule):
    schema.read_request(_SPEC, request(**changes))


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'z_rl': None}, 'must have z_rl'),
    ({'actions': np.zeros((5, 2), np.float32)}, r'actions .*\(5, 3\): \(5, 2'),
    ({'actions': np.full((5, 3), np.inf, 'f4')}, 'actions must be finite'),
    ({'reference': np.zeros((5, 3))}, 'reference must be float32: float64'),
    ({'fingerprint': {'vla': 'v', 'token': 'u'}}, 'fingerprint must be'),
    ({'fingerprint': None}, 'fingerprint must be .*: None'),
  ],
)
def test_a_reply_is_refused_by_name(changes, rule):
  schema.read_reply(_SPEC, reply())
  with pytest.raises(ValueError, match=rule):
    schema.read_reply(_SPEC, reply(**changes))


def test_what_is_sent_is_checked_too():
  with pytest.raises(ValueError, match='unknown'):
    schema.make_request(
      _SPEC, images={'left': 0}, proprio=np.zeros(6), prompt=''
    )
  with pytest.raises(ValueError, match='z_rl must have'):
    schema.make_reply(
      _SPEC,
      actions=np.zeros((5, 3)),
      z_rl=np.ones(6),
      reference=np.zeros((5, 3)),
    )


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'horizon': 0}, 'horizon must be an integer from 1 on: 0'),
    ({'z_dim': True}, 'z_dim must be an integer'),
    ({'cameras': 'base'}, "cameras must be a list: 'base'"),
    ({'cameras': ('a', 'a')}, 'cameras must be distinct'),
    ({'joint_names': ('a', 'b')}, 'joint_names must have action_dim entries'),
    ({'action_scale': ('a',) * 3}, 'action_scale must hold numbers'),
    ({'proprio_std': (1.0,)}, 'proprio_std must have proprio_dim entries, 6'),
    ({'max_batch': 0}, 'max_batch must be an integer from 1 on: 0'),
    ({'takes_noise': 1}, 'takes_noise must be a bool: 1'),
    ({'reads_joints': 1}, 'reads_joints must be a bool: 1'),
    ({'control_hz': 0.0}, 'control_hz must be a positive number: 0.0'),
  ],
)
def test_a_spec_is_refused_by_name(changes, rule):
  with pytest.raises(ValueError, match=rule):
    dataclasses.replace(_SPEC, **changes)


@pytest.mark.parametrize('name', sorted(_FIELDS))
def test_every_field_must_be_there_and_fit(name):
  metadata = codec.unpack(codec.pack(_SPEC.metadata()))
  schema.check(metadata, **_FIELDS)
  other = {'action_scale': (0.1, 0.2, 0.31), 'cameras': ('wrist', 'base')}
  with pytest.raises(ValueError, match=f"The server's {name} must be"):
    schema.check(metadata, **{name: other.get(name, 'else')})
  del metadata[name]
  with pytest.raises(ValueError, match=f'metadata must have {name}'):
    schema.check(metadata, **_FIELDS)
  with pytest.raises(ValueError, match=f'metadata must have {name}'):
    schema.read_metadata(metadata)


def test_a_scale_may_have_been_float32():
  rounded = [float(np.float32(x)) for x in _SPEC.action_scale]
  schema.check(_SPEC.metadata(), action_scale=rounded)


def test_a_whole_number_may_be_an_integer():
  metadata = {'control_hz': 50, 'action_scale': [1, 2], 'takes_noise': True}
  schema.check(metadata, control_hz=50.0, action_scale=(1.0, 2.0))
  with pytest.raises(ValueError, match='takes_noise must be 1.0: True'):
    schema.check(metadata, takes_noise=1.0)
  with pytest.raises(ValueError, match='control_hz must be 25.0: 50'):
    schema.check(metadata, control_hz=25.0)


def test_serving_needs_neither_jax_nor_mujoco():
  code = (
    'import sys, rlt_jax.serving.server, rlt_jax.serving.client; '
    'import rlt_jax.serving.schema; '
    'print(sorted({"jax", "chex", "mujoco", "flax"} & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
