"""The served VLA answers as the VLA and the token do."""

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.serving import schema, vla_service
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Observation

_PROMPT = 'insert the ethernet plug into the socket'


@pytest.fixture(scope='module')
def served(assets):
  vla, token, _ = assets_lib.load(
    str(assets), PracticeConfig(), tasks.load('ethernet').spec
  )
  spec = vla_service.make_spec(vla, token)
  return vla, token, spec


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


def test_a_request_that_does_not_fit_is_refused_by_name(served):
  vla, token, spec = served
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  images, proprio = _request(spec)
  message = schema.make_request(
    spec, images=images, proprio=proprio, prompt=_PROMPT
  )
  with pytest.raises(ValueError, match='proprio'):
    infer(message | {'proprio': proprio[:-1]})


def test_the_servers_metadata_is_the_vlas(served):
  vla, token, spec = served
  schema.check(
    spec.metadata(),
    vla_fingerprint=vla.spec.fingerprint,
    token_fingerprint=token.spec.fingerprint,
  )
  with pytest.raises(ValueError, match='horizon'):
    schema.check(spec.metadata(), horizon=vla.spec.horizon + 1)
