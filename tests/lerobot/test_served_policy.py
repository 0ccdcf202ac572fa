"""Policies of LeRobot, served from its own environment.

They run where RLT_JAX_LEROBOT_PYTHON names the Python of an environment as
docs/lerobot.md makes it.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

import jax
import numpy as np
import pytest

from rlt_jax.lerobot import facts as facts_lib
from rlt_jax.rl_token import rl_token
from rlt_jax.serving import codec, remote_vla, schema
from rlt_jax.serving.sync_client import SyncClient
from rlt_jax.types import Observation
from tests.lerobot import parts
from tests.lerobot.tiny_policies import DATASET, TOKENIZER
from tests.training.test_foreign_vla import _config, _practice, write_token

_PYTHON = os.environ.get('RLT_JAX_LEROBOT_PYTHON', '')
_ROOT = pathlib.Path(__file__).parents[2]
_WAIT_S = 900.0
_SERVING = re.compile(r'Serving on .*, port (\d+)')
_KINDS = ('smolvla', 'pi05')

pytestmark = [
  pytest.mark.timeout(3600),
  pytest.mark.skipif(
    not _PYTHON, reason='RLT_JAX_LEROBOT_PYTHON names no Python with LeRobot'
  ),
]


def _environment():
  return os.environ | {'PYTHONPATH': str(_ROOT), 'HF_HUB_OFFLINE': '1'}


def _run(*arguments):
  return subprocess.run(
    [_PYTHON, '-m', *map(str, arguments)],
    cwd=_ROOT,
    env=_environment(),
    capture_output=True,
    text=True,
    check=True,
    timeout=_WAIT_S,
  ).stdout


@contextlib.contextmanager
def _served(folder, *flags):
  """Runs a server; yields its address."""
  log = folder / 'server.log'
  command = [
    _PYTHON, '-m', 'tests.lerobot.tiny_policies', 'serve',
    f'--checkpoint={folder / "policy"}', f'--facts={folder / "facts.json"}',
    f'--tokenizer={TOKENIZER}', '--port=0', *flags,
  ]  # fmt: skip
  with log.open('w') as out:
    process = subprocess.Popen(
      command, cwd=_ROOT, env=_environment(), stdout=out, stderr=out
    )
  try:
    limit = time.monotonic() + _WAIT_S
    while (found := _SERVING.search(log.read_text())) is None:
      assert process.poll() is None, log.read_text()
      assert time.monotonic() < limit, log.read_text()
      time.sleep(0.5)
    yield f'ws://127.0.0.1:{found[1]}'
  finally:
    process.terminate()
    process.wait(60.0)


@pytest.fixture(scope='module', params=_KINDS)
def policy(request, tmp_path_factory):
  """Returns a folder with a policy, a mapping and the facts."""
  folder = tmp_path_factory.mktemp(request.param)
  _run('tests.lerobot.tiny_policies', 'make', request.param, folder / 'policy')
  facts_lib.save(folder / 'facts.json', parts.make_facts(folder))
  return folder


def _ask(address, seed=0, **more):
  with SyncClient(address, reply_timeout_s=_WAIT_S) as client:
    spec = schema.read_metadata(client.metadata)
    rng = np.random.default_rng(seed)
    images = {
      name: rng.integers(0, 255, (64, 64, 3), np.uint8) for name in spec.cameras
    }
    message = schema.make_request(
      spec,
      images=images,
      proprio=np.array(spec.proprio_mean),
      prompt='plug it in',
      noise=rng.normal(size=(spec.horizon, spec.action_dim)),
      **more,
    )
    return spec, message, client.infer(message)


def test_tokens_train_a_token_and_the_token_practices(policy, config, tmp_path):
  with _served(policy, f'--demos={DATASET}',
               f'--mapping={policy / "mapping.json"}') as address:  # fmt: skip
    spec, message, _ = _ask(address, want='tokens')
    assert spec.z_dim == 0 and spec.horizon == 32  # 20 steps of 30 Hz
    assert sum(spec.camera_tokens) == spec.num_image_tokens
    assert len(set(spec.camera_tokens)) == 1
    with remote_vla.load(address) as vla:
      token = write_token(tmp_path, vla.spec, spec.num_image_tokens)
      observation = Observation(
        {k: message[f'images/{k}'][None] for k in spec.cameras},
        message['proprio'][None],
        vla.tokenize(message['prompt'])[None],
      )
      out = jax.jit(vla.apply_with_noise)(
        {}, observation, message['noise'][None]
      )
  assert np.ptp(np.float32(out.tokens), axis=1).min() > 1e-3
  with _served(policy, f'--token={tmp_path / "token"}') as address:
    spec, _, reply = _ask(address)
    assert len(codec.pack(reply)) < 16_000
    found = schema.read_reply(spec, reply)
    expected = token.apply(
      token.params, jax.numpy.float32(out.tokens), out.mask
    )
    np.testing.assert_allclose(found.z_rl, expected[0], atol=0.02)
    np.testing.assert_allclose(found.reference, out.reference[0], atol=1e-3)
    _, _, again = _ask(address)
    np.testing.assert_array_equal(again['actions'], reply['actions'])
    run, rows = _practice(tmp_path, _config(config, address))
  assert run.experiment.meta['fingerprints'] == {
    'vla': spec.vla_fingerprint,
    'token': token.spec.fingerprint,
  }
  assert rows[-1]['env_steps'] >= 160
  assert rl_token.load(tmp_path / 'token', vla_fingerprint=spec.vla_fingerprint)


def test_what_lerobot_lets_pass_is_refused(policy, tmp_path):
  out = _run('tests.lerobot.refusals', policy / 'policy',
             policy / 'facts.json', tmp_path)  # fmt: skip
  found = json.loads(out.splitlines()[-1])
  refusals = {
    'missing array': 'missing: ',
    'extra array': 'left over: model.more',
    'other shape': 'whole',
    'cut file': 'whole',
    'not finite': 'must be finite',
    'no statistics': 'of observation.state: no ',
    'missing camera': "missing ['observation.images.cam_right_wrist']",
  }
  for name, text in refusals.items():
    assert text in found[name], (name, found[name])
  others = [x for name, x in found.items() if name not in refusals]
  assert len(others) == 4
  assert all(len(x) == 64 for x in others) and len(set(others)) == 4, found
