"""A VLA behind a socket, to train a token on: it is that VLA."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.serving import remote_vla, schema, server, vla_service
from rlt_jax.serving.remote_vla import RemoteVla
from rlt_jax.types import Observation
from tests.training.test_foreign_vla import write_token

_TOY = 'tests.vlas.toy_vla:make'


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
  vla = vlas.load(_TOY)
  token = write_token(tmp_path_factory.mktemp('toy'), vla.spec)
  spec = vla_service.make_spec(vla, token)
  return vla, spec, vla_service.make_infer(vla, token, spec, seed=0)


@pytest.fixture
def address(toy):
  _, spec, infer = toy
  with server.PolicyServer(infer, spec.metadata(), port=0) as served:
    yield f'ws://127.0.0.1:{served.port}'


def _observation(vla, rows):
  rng = np.random.default_rng(0)
  texts = [vla.tokenize(x) for x in ('insert', 'touch')]
  return Observation(
    {
      c: rng.integers(0, 255, (rows, 64, 64, 3)).astype(np.uint8)
      for c in vla.spec.cameras
    },
    rng.normal(size=(rows, 28)).astype(np.float32),
    np.stack([texts[i % 2] for i in range(rows)]),
  )


def test_its_tokens_and_chunks_are_those_of_the_vla(toy, address):
  vla, spec, _ = toy
  rows = 70  # more than one request, two instructions
  assert rows > schema.batch_limit(spec, schema.TOKENS)
  noise = np.asarray(jax.random.normal(jax.random.key(1), (rows, 20, 14)))
  expected = vla.apply_with_noise(vla.params, _observation(vla, rows), noise)
  count = spec.num_image_tokens
  with remote_vla.load(address) as remote:
    assert isinstance(remote, RemoteVla)
    assert remote.spec.fingerprint == vla.spec.fingerprint
    assert remote.spec.image_shape('base') == (64, 64)
    out = jax.jit(remote.apply_with_noise)(
      {}, _observation(remote, rows), noise
    )
    np.testing.assert_array_equal(
      remote.proprio_stats().std, np.float32(vla.proprio_stats().std)
    )
  assert out.tokens.dtype == np.float16
  np.testing.assert_allclose(out.tokens, expected.tokens[:, :count], atol=2e-3)
  np.testing.assert_array_equal(out.mask, expected.mask[:, :count])
  assert out.image_mask.all()
  np.testing.assert_allclose(out.reference, expected.reference, atol=1e-3)


def test_a_text_has_its_number_whatever_came_before(address):
  """Else a training of the token would not go on: prompts are digested."""
  texts = ['insert', 'touch', 'lift']
  found = []
  for order in (texts, texts[::-1]):
    with remote_vla.load(address) as remote:
      prompts = {text: remote.tokenize(text) for text in order}
    found.append([int(*prompts[text]) for text in texts])
    assert prompts['lift'].dtype == np.int32 and min(found[-1]) > 0
  assert found[0] == found[1] and len(set(found[0])) == 3


def test_texts_with_the_same_number_are_refused(address, monkeypatch):
  monkeypatch.setattr(remote_vla, '_NUMBERS', 1)
  with remote_vla.load(address) as remote:
    remote.tokenize('insert')
    remote.tokenize('insert')
    with pytest.raises(ValueError, match="'touch' and 'insert' do not"):
      remote.tokenize('touch')


def test_a_lost_server_is_named_as_it_is_elsewhere(toy):
  vla, spec, infer = toy
  noise = np.zeros((1, 20, 14), np.float32)
  with contextlib.ExitStack() as stack:
    served = server.PolicyServer(infer, spec.metadata(), port=0)
    address = f'ws://127.0.0.1:{stack.enter_context(served).port}'
    with pytest.raises(ConnectionError, match='must answer: .* --resume'):
      with remote_vla.opened(address) as remote:
        stack.close()
        jax.block_until_ready(
          jax.jit(remote.apply_with_noise)({}, _observation(remote, 1), noise)
        )


def test_its_connection_ends_with_the_block(toy):
  _, spec, infer = toy
  with server.PolicyServer(
    infer, spec.metadata(), port=0, max_connections=1
  ) as served:
    address = f'ws://127.0.0.1:{served.port}'
    for _ in range(2):
      with remote_vla.opened(address) as remote:
        assert isinstance(remote, RemoteVla)
        with pytest.raises(ConnectionError):
          remote_vla.load(address)


def test_a_vla_of_this_process_is_opened_too():
  with remote_vla.opened('tests.vlas.toy_vla:make') as vla:
    assert not isinstance(vla, RemoteVla)


def test_a_server_without_tokens_is_refused(toy):
  _, spec, infer = toy
  bare = dataclasses.replace(
    spec, num_image_tokens=0, token_dim=0, token_dtype=''
  )
  with server.PolicyServer(infer, bare.metadata(), port=0) as served:
    with pytest.raises(ValueError, match='must hand out tokens: it states no'):
      remote_vla.load(f'ws://127.0.0.1:{served.port}')
