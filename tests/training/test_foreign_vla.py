"""Practice with a VLA of one's own, and with one behind a socket."""

import dataclasses
import json
import pathlib
import re

import jax
import numpy as np
import pytest

from rlt_jax import tasks, vlas
from rlt_jax.rl_token import rl_token
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.train import train_token
from rlt_jax.serving import server, vla_service
from rlt_jax.serving.embedder import LocalEmbedder
from rlt_jax.serving.remote_embedder import RemoteEmbedder
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import practice_run

_PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'extending_vla.md'
_PYTHON = re.compile(r'```python\n(.*?)```', re.DOTALL)
_SPEC = tasks.load('ethernet').spec
_TOY = 'tests.vlas.toy_vla:make'


def write_token(folder, spec, num_image_tokens=48):
  """Writes a hardly trained token of a VLA."""
  config = TokenConfig(
    token_dim=spec.token_dim,
    num_image_tokens=num_image_tokens,
    num_layers=1,
    num_heads=2,
    mlp_ratio=1,
    steps=2,
    warmup_steps=1,
    batch_size=4,
  )
  tokens = np.random.default_rng(0).normal(
    size=(16, num_image_tokens, spec.token_dim)
  )
  trained = train_token(jax.random.key(0), tokens.astype(np.float32), config)
  token = rl_token.make(trained.params, config, spec.fingerprint)
  rl_token.save(folder / 'token', token, metrics={}, command=[], seed=0)
  return token


@pytest.fixture(scope='module')
def foreign(tmp_path_factory):
  """Returns the toy VLA, its token, and the folder that holds the token."""
  folder = tmp_path_factory.mktemp('foreign')
  vla = vlas.load(_TOY)
  return vla, write_token(folder, vla.spec), folder


@pytest.fixture(scope='module')
def address(foreign):
  vla, token, _ = foreign
  spec = vla_service.make_spec(vla, token)
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  with server.PolicyServer(infer, spec.metadata(), port=0) as served:
    yield f'ws://127.0.0.1:{served.port}'


def _config(config, vla):
  return dataclasses.replace(
    config,
    vla=vla,
    num_env_steps=160,
    vla_warmup_steps=80,
    eval_at_minutes=(),
    num_eval_videos=0,
  )


def _practice(folder, config, assets=''):
  workdir = folder / 'run'
  run = practice_run.PracticeRun(
    workdir=workdir, config=config, resume=False, assets=assets
  )
  run.practice()
  rows = (workdir / 'metrics.jsonl').read_text().splitlines()
  return run, [json.loads(row) for row in rows]


def test_practice_runs_with_a_vla_of_ones_own(foreign, config, tmp_path):
  vla, token, folder = foreign
  run, rows = _practice(tmp_path, _config(config, _TOY), str(folder))
  assert run.experiment.meta['fingerprints'] == {
    'vla': vla.spec.fingerprint,
    'token': token.spec.fingerprint,
  }
  assert rows[-1]['env_steps'] >= 160


def test_practice_runs_with_the_example_of_the_page(
  config, tmp_path, monkeypatch
):
  (example,) = _PYTHON.findall(_PAGE.read_text('utf-8'))
  assert example.count('\n') < 60
  (tmp_path / 'my_vla.py').write_text(example)
  monkeypatch.syspath_prepend(tmp_path)
  vla = vlas.load('my_vla:make')
  write_token(tmp_path, vla.spec)
  _, rows = _practice(tmp_path, _config(config, 'my_vla:make'), str(tmp_path))
  assert rows[-1]['env_steps'] >= 160


def test_practice_runs_through_a_socket(foreign, address, config, tmp_path):
  vla, _, _ = foreign
  run, rows = _practice(tmp_path, _config(config, address))
  assert run.experiment.meta['fingerprints']['vla'] == vla.spec.fingerprint
  assert rows[-1]['env_steps'] >= 160


def test_a_socket_gives_what_the_vla_itself_would(foreign, address):
  vla, token, _ = foreign
  local, rng = LocalEmbedder(vla, token), np.random.default_rng(0)
  rows = 70  # more than one request
  images = {
    c: rng.integers(0, 255, (rows, 64, 64, 3)).astype(np.uint8)
    for c in vla.spec.cameras
  }
  proprio = rng.normal(size=(rows, 28)).astype(np.float32)
  key = jax.random.key(4)
  keys = jax.random.split(key, 2)
  with RemoteEmbedder(address) as remote:
    assert rows > remote.spec.max_batch
    assert remote.spec == local.spec
    for ask, of in (('embed', key), ('embed_each', keys)):
      args = images, proprio, 'insert', of
      there = getattr(remote, ask)(*args)
      again = getattr(remote, ask)(*args)
      for x, y, z in zip(there, again, getattr(local, ask)(*args), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_allclose(x, z, atol=1e-3)


def test_a_server_of_single_observations_will_do(foreign):
  vla, token, _ = foreign
  spec = vla_service.make_spec(vla, token)
  spec = dataclasses.replace(spec, max_batch=1, takes_noise=False)
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  images = {c: np.zeros((3, 64, 64, 3), np.uint8) for c in spec.cameras}
  with server.PolicyServer(infer, spec.metadata(), port=0) as served:
    with RemoteEmbedder(f'ws://127.0.0.1:{served.port}') as remote:
      out = remote.embed(
        images, np.zeros((3, 28), np.float32), 'insert', jax.random.key(0)
      )
  assert out.z_rl.shape == (3, spec.z_dim)
  assert not np.array_equal(out.reference[0], out.reference[1])


def test_a_lost_server_is_named(foreign, config):
  vla, token, _ = foreign
  spec = vla_service.make_spec(vla, token)
  infer = vla_service.make_infer(vla, token, spec, seed=0)
  with server.PolicyServer(infer, spec.metadata(), port=0) as served:
    remote = RemoteEmbedder(f'ws://127.0.0.1:{served.port}')
  images = {c: np.zeros((1, 64, 64, 3), np.uint8) for c in spec.cameras}
  with pytest.raises(ConnectionError, match='must answer: .* --resume'):
    remote.embed(
      images, np.zeros((1, 28), np.float32), 'insert', jax.random.key(0)
    )


def test_a_server_must_say_what_practice_needs(foreign):
  vla, token, _ = foreign
  metadata = vla_service.make_spec(vla, token).metadata()
  del metadata['proprio_std']
  with server.PolicyServer(dict, metadata, port=0) as served:
    with pytest.raises(ValueError, match='must state proprio_std .*: ..'):
      RemoteEmbedder(f'ws://127.0.0.1:{served.port}')


@pytest.mark.parametrize(
  'vla, folder, sentence',
  [
    (_TOY, '', 'needs a token trained on it: train one'),
    (_TOY, '/nowhere', 'A token must be a folder with token.json'),
    ('ws://127.0.0.1:1', '/assets', '--assets must be empty'),
    ('ws://127.0.0.1:1?secret=a', '', 'token_file=PATH. and no other'),
    ('ws://127.0.0.1:1', '', 'must answer: nothing listens there'),
  ],
)
def test_what_does_not_fit_is_refused(config, vla, folder, sentence):
  config = dataclasses.replace(config, vla=vla)
  with pytest.raises((ValueError, OSError), match=sentence):
    assets_lib.load_embedder(folder, config, _SPEC)


def test_a_token_that_is_replaced_need_not_exist(foreign, config, tmp_path):
  config = dataclasses.replace(config, vla=_TOY, token_ablation='zeros')
  shipped = assets_lib.load_embedder(str(foreign[2]), config, _SPEC)
  alone = [assets_lib.load_embedder(x, config, _SPEC) for x in ('', tmp_path)]
  images = {c: np.zeros((2, 64, 64, 3), np.uint8) for c in shipped.spec.cameras}
  observed = images, np.zeros((2, 28), np.float32), 'insert', jax.random.key(0)
  found = [embedder.embed(*observed) for embedder in (shipped, *alone)]
  for other in found[1:]:
    np.testing.assert_array_equal(other.reference, found[0].reference)
    assert other.z_rl.shape[0] == 2 and not np.any(other.z_rl)
  with pytest.raises(ValueError, match='A token must be a folder with'):
    named = dataclasses.replace(config, token_ablation='none')
    assets_lib.load_embedder(str(tmp_path), named, _SPEC)


def test_the_mean_of_the_tokens_needs_the_token_and_the_vla(
  foreign, config, tmp_path
):
  config = dataclasses.replace(config, vla=_TOY, token_ablation='mean_tokens')
  embedder = assets_lib.load_embedder(str(foreign[2]), config, _SPEC)
  images = {
    c: np.full((2, 64, 64, 3), 9, np.uint8) for c in embedder.spec.cameras
  }
  observed = images, np.zeros((2, 28), np.float32), 'insert', jax.random.key(0)
  z_rl = np.asarray(embedder.embed(*observed).z_rl)
  assert (
    z_rl.shape == (2, embedder.spec.z_dim) == (2, foreign[0].spec.token_dim)
  )
  np.testing.assert_allclose(z_rl.std(-1), 1.0, atol=1e-2)
  with pytest.raises(ValueError, match='A token must be a folder with'):
    assets_lib.load_embedder(str(tmp_path), config, _SPEC)
  with pytest.raises(ValueError, match="'mean_tokens' needs the VLA in this"):
    served = dataclasses.replace(config, vla='ws://127.0.0.1:1')
    assets_lib.load_embedder('', served, _SPEC)


def test_a_vla_of_another_task_is_refused(foreign, config):
  task = dataclasses.replace(_SPEC, control_hz=20)
  config = dataclasses.replace(config, vla=_TOY)
  with pytest.raises(ValueError, match='control_hz must .* 20: 50.0'):
    assets_lib.load_embedder(str(foreign[2]), config, task)


def test_a_short_horizon_is_refused(foreign, config):
  config = dataclasses.replace(config, vla=_TOY, open_loop_steps=30)
  with pytest.raises(ValueError, match="fit in the VLA's horizon 20: 10, 30"):
    assets_lib.load_embedder(str(foreign[2]), config, _SPEC)
