"""The served VLA answers as the VLA and the token do."""

import jax
import msgpack
import numpy as np
import pytest
from websockets.sync import client as websockets

from rlt_jax import tasks
from rlt_jax.serving import codec, schema, vla_service
from rlt_jax.serving.server import PolicyServer
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Observation
from tests.giving_up import given_up

_PROMPT = 'insert the ethernet plug into the socket'


@pytest.fixture(scope='module')
def served(assets):
  vla, token, _ = assets_lib.load(
    str(assets), PracticeConfig(), tasks.load('ethernet').spec
  )
  spec = vla_service.make_spec(vla, token)
  return vla, token, spec


def test_its_compilation_is_given_up_at_a_signal(served, monkeypatch):
  with given_up() as compiling:
    monkeypatch.setattr(vla_service, '_make_query', lambda *_: compiling)
    vla_service.make_infer(*served, seed=3)


def _request(spec, seed=0):
  rng = np.random.default_rng(seed)
  side = (spec.image_size, spec.image_size, 3)
  images = {c: rng.integers(0, 255, side, np.uint8) for c in spec.cameras}
  proprio = rng.normal(size=spec.proprio_dim).astype(np.float32)
  return images, proprio


def test_a_reply_is_what_vla_and_token_say(served):
  vla, token, spec = served
  infer = vla_service.make_infer(vla, token, spec, seed=3)
  images, proprio = _request(spec)
  message = schema.make_request(
    spec, images=images, proprio=proprio, prompt=_PROMPT
  )
  words = vla.tokenize(_PROMPT)
  batch = jax.tree.map(
    lambda x: np.asarray(x)[None], Observation(images, proprio, words)
  )
  for count in range(2):
    reply = infer(message)
    found = schema.read_reply(spec, reply)
    key = jax.random.fold_in(jax.random.key(3), count)
    out = vla.apply(vla.params, batch, key)
    z_rl = token.apply(token.params, out.tokens, out.mask)[0]
    np.testing.assert_allclose(found.z_rl, z_rl, atol=1e-3)
    np.testing.assert_allclose(found.reference, out.reference[0], atol=1e-2)
    scale = np.array(vla.spec.action_scale)
    np.testing.assert_allclose(
      found.actions, proprio[:14] + found.reference * scale, atol=1e-6
    )
    assert reply['policy_timing']['infer_ms'] > 0


def test_a_robot_script_of_openpi_gets_the_same_answers(served):
  """Its names, channels first, float64 state, a NumPy prompt, over a socket."""
  vla, token, spec = served
  images, proprio = _request(spec)
  keys = [f'images/{x}=images/cam_{x}:chw' for x in spec.cameras]
  keys.append('proprio=state/position+state/velocity')
  theirs = {
    'images': {f'cam_{x}': y.transpose(2, 0, 1) for x, y in images.items()},
    'state': {
      'position': np.float64(proprio[:14]),
      'velocity': np.float64(proprio[14:]),
    },
    'prompt': np.asarray(_PROMPT),
  }
  own = schema.make_request(
    spec, images=images, proprio=proprio, prompt=_PROMPT
  )
  expected = vla_service.make_infer(vla, token, spec, seed=3)(own)
  infer = vla_service.make_infer(vla, token, spec, seed=3, keys=keys)
  with PolicyServer(
    infer,
    spec.metadata(),
    port=0,
    max_frame_bytes=schema.max_request_bytes(spec),
  ) as server:
    address = f'ws://127.0.0.1:{server.port}'
    with websockets.connect(address, proxy=None, compression=None) as client:
      client.recv(60.0)
      client.send(_openpi_frame(theirs))
      reply = codec.unpack(client.recv(60.0))
  for name in ('actions', 'z_rl', 'reference'):
    np.testing.assert_array_equal(reply[name], expected[name])


def _openpi_frame(message):
  """Packs as openpi's msgpack_numpy, which takes arrays of text too."""

  def pack(value):
    value = np.asarray(value)
    return {
      b'__ndarray__': True,
      b'data': value.tobytes(),
      b'dtype': value.dtype.str,
      b'shape': value.shape,
    }

  return msgpack.packb(message, default=pack)


def test_a_request_that_does_not_fit_is_refused_by_name(served):
  vla, token, spec = served
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  images, proprio = _request(spec)
  message = schema.make_request(
    spec, images=images, proprio=proprio, prompt=_PROMPT
  )
  with pytest.raises(ValueError, match='proprio'):
    infer(message | {'proprio': proprio[:-1]})


def test_a_task_without_joints_in_proprioception_is_refused():
  vla_service.check_task(tasks.load('ethernet').spec)
  with pytest.raises(
    ValueError, match=r'joint targets.*--set=task\.proprio=jo'
  ):
    vla_service.check_task(tasks.load('charger').spec)


def test_the_servers_metadata_is_the_vlas(served):
  vla, token, spec = served
  schema.check(
    spec.metadata(),
    vla_fingerprint=vla.spec.fingerprint,
    token_fingerprint=token.spec.fingerprint,
  )
  with pytest.raises(ValueError, match='horizon'):
    schema.check(spec.metadata(), horizon=vla.spec.horizon + 1)
