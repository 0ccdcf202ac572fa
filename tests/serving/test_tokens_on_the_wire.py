"""Tokens in a reply, cameras of any shape, servers without a token."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.serving import answering, codec, schema, serving_spec
from rlt_jax.serving.answering import Answer
from tests.serving.test_schema import _SPEC as _PLAIN
from tests.serving.test_schema import request

_TOKENS = {
  'num_image_tokens': 5,
  'token_dim': 2,
  'token_dtype': 'float16',
  'camera_tokens': (3, 2),
}
_SPEC = dataclasses.replace(_PLAIN, max_batch=3, takes_noise=True, **_TOKENS)
_UNTRAINED = dataclasses.replace(_SPEC, z_dim=0, token_fingerprint='')


def _reply(spec, tokens, mask=None):
  lead = tokens.shape[:-2]
  chunk = np.ones((*lead, 5, 3))
  mask = np.ones(tokens.shape[:-1], bool) if mask is None else mask
  return schema.make_token_reply(
    spec, actions=chunk, reference=-chunk, tokens=tokens, mask=mask
  )


def test_tokens_survive_serving_as_float16():
  tokens = np.arange(20.0).reshape(2, 5, 2) / 8.0
  frame = codec.pack(_reply(_UNTRAINED, tokens))
  out = schema.read_token_reply(_UNTRAINED, codec.unpack(frame), 2)
  assert out.tokens.dtype == np.float16
  np.testing.assert_array_equal(out.tokens, tokens)
  assert out.mask.shape == (2, 5) and out.mask.all()
  with pytest.raises(ValueError, match=r'actions must have .*\(3, 5, 3\)'):
    schema.read_token_reply(_UNTRAINED, codec.unpack(frame), 3)


@pytest.mark.parametrize('value', [7e4, np.nan])
def test_tokens_beyond_float16_are_refused(value):
  tokens = np.full((5, 2), value)
  with pytest.raises(ValueError, match='tokens must be finite'):
    _reply(_SPEC, tokens)
  wide = dataclasses.replace(_SPEC, token_dtype='float32')
  if value == value:
    assert _reply(wide, tokens)['tokens'].dtype == np.float32


def test_a_request_may_want_tokens_where_there_are_some():
  out = schema.read_request(_UNTRAINED, request(want='tokens'))
  assert out.want == schema.TOKENS
  with pytest.raises(ValueError, match=r"unknown \['want'\]"):
    schema.read_request(_PLAIN, request(want='tokens'))
  with pytest.raises(ValueError, match="want must be 'tokens' or left out"):
    schema.read_request(_SPEC, request(want='logits'))


def test_a_server_without_a_token_answers_with_tokens_only():
  metadata = codec.unpack(codec.pack(_UNTRAINED.metadata()))
  assert schema.read_metadata(metadata) == _UNTRAINED
  with pytest.raises(ValueError, match='must have an RL token: .*train_token'):
    schema.read_request(_UNTRAINED, request())
  schema.check_has_token(_SPEC)


def test_cameras_may_have_their_own_shapes():
  spec = dataclasses.replace(_SPEC, image_size=0, image_shapes=((4, 6), (2, 3)))
  metadata = codec.unpack(codec.pack(spec.metadata()))
  assert schema.read_metadata(metadata) == spec
  assert spec.image_shape('wrist') == (2, 3)
  assert spec.image_bytes() == 3 * (24 + 6)
  message = schema.make_blank_request(spec, np.zeros(6), 'go')
  assert message['images/base'].shape == (4, 6, 3)
  with pytest.raises(ValueError, match=r'images/wrist .*\(2, 3, 3\)'):
    schema.read_request(
      spec, message | {'images/wrist': np.zeros((3, 2, 3), np.uint8)}
    )
  with pytest.raises(ValueError, match='image_size above 0 or image_shapes'):
    dataclasses.replace(spec, image_size=4)
  with pytest.raises(ValueError, match=r'height, width\) of each camera'):
    dataclasses.replace(spec, image_shapes=((4, 6),))


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'token_dtype': 'int8'}, "a token_dtype of .*: 2, 'int8'"),
    ({'token_dim': 0}, 'must have a token_dim'),
    ({'camera_tokens': (3, 3)}, 'together num_image_tokens, 5'),
    ({'camera_tokens': (5,)}, 'the tokens of each camera'),
    ({'num_image_tokens': 0}, 'must be left out without num_image_tokens'),
    ({'num_image_tokens': 1 << 22, 'camera_tokens': ()}, 'at most 8388608'),
    ({'token_fingerprint': ''}, 'if and only if there is a token_fingerprint'),
    ({'z_dim': 0}, 'if and only if there is a token_fingerprint'),
  ],
)
def test_a_spec_of_tokens_is_refused_by_name(changes, rule):
  with pytest.raises(ValueError, match=rule):
    dataclasses.replace(_SPEC, **changes)


def test_batches_of_tokens_fit_an_array():
  large = dataclasses.replace(
    _SPEC,
    max_batch=64,
    num_image_tokens=768,
    token_dim=2048,
    camera_tokens=(),
  )
  assert schema.batch_limit(large, schema.TOKENS) == 2
  assert schema.batch_limit(large) == 64
  square = dataclasses.replace(_SPEC, image_size=224)
  assert serving_spec.with_batches(square).max_batch == 27


@pytest.mark.parametrize('mode', ['offset', 'increment'])
def test_an_answer_becomes_either_reply(mode):
  spec = dataclasses.replace(_SPEC, action_mode=mode)
  seen = []

  def query(request, noise):
    seen.append(noise)
    rows = len(request.proprio)
    actions = np.tile(np.arange(1.0, 6.0)[:, None], (rows, 1, 3))
    tokens = np.full((rows, 5, 2), np.nan)
    mask = np.zeros((rows, 5), bool)
    mask[:, :2], tokens[:, :2] = True, 0.5
    return Answer(actions, tokens, mask)

  infer = answering.make_infer(
    spec, query, lambda tokens, mask: np.tile(mask.sum(), (len(mask), 7)),
    seed=3,
  )  # fmt: skip
  proprio = np.full(6, 0.5, np.float32)
  out = schema.read_reply(spec, infer(request(proprio=proprio)))
  steps = np.arange(1.0, 6.0) - 0.5
  if mode == 'increment':
    steps = np.diff(steps, prepend=0.0)
  np.testing.assert_allclose(
    out.reference, steps[:, None] / np.array(spec.action_scale), rtol=1e-6
  )
  np.testing.assert_array_equal(out.z_rl, np.full(7, 2.0))
  own = np.ones((5, 3), np.float32)
  reply = infer(request(want='tokens', noise=own))
  tokens = schema.read_token_reply(spec, reply)
  np.testing.assert_array_equal(tokens.tokens[:, 0], [0.5, 0.5, 0.0, 0.0, 0.0])
  np.testing.assert_array_equal(seen[1], own[None])
  again = np.random.default_rng((3, 0)).standard_normal((1, 5, 3), np.float32)
  np.testing.assert_array_equal(seen[0], again)
  with pytest.raises(ValueError, match='if and only if the spec has a z_dim'):
    answering.make_infer(spec, query)
