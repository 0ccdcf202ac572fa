"""The page's server, as it stands: its token is trained, and practice asks."""

import pathlib
import re

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.serving import remote_vla
from rlt_jax.training import assets as assets_lib
from rlt_jax.types import Observation
from tests.training.test_foreign_vla import _config, write_token

_PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'vla_server.md'
_PYTHON = re.compile(r'```python\n(.*?)```', re.DOTALL)
_SPEC = tasks.load('ethernet').spec


def test_the_example_gives_tokens_then_answers_practice(
  config, tmp_path, monkeypatch
):
  example = _PYTHON.findall(_PAGE.read_text('utf-8'))[0]
  assert example.count('\n') <= 60
  (tmp_path / 'my_server.py').write_text(example)
  monkeypatch.syspath_prepend(tmp_path)
  import my_server

  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (3, 2, 64, 64, 3)).astype(np.uint8)
  images = dict(zip(my_server.SPEC.cameras, pixels, strict=True))
  proprio = rng.normal(size=(2, 28)).astype(np.float32)
  with my_server.make(port=0) as served:
    address = f'ws://127.0.0.1:{served.port}'
    with pytest.raises(ValueError, match='must have an RL token'):
      assets_lib.load_embedder('', _config(config, address), _SPEC)
    with remote_vla.load(address) as vla:
      prompt = np.tile(vla.tokenize('insert'), (2, 1))
      out = vla.apply_with_noise(
        {}, Observation(images, proprio, prompt), np.zeros((2, 20, 14))
      )
      token = write_token(tmp_path, vla.spec)
  with my_server.make(str(tmp_path / 'token'), port=0) as served:
    config = _config(config, f'ws://127.0.0.1:{served.port}')
    with assets_lib.load_embedder('', config, _SPEC) as embedder:
      found = embedder.embed(images, proprio, 'insert', jax.random.key(0))
      again = embedder.embed(images, proprio, 'insert', jax.random.key(0))
  assert embedder.spec.vla_fingerprint == 'mean-colors-1'
  assert embedder.spec.token_fingerprint == token.spec.fingerprint
  tokens = np.asarray(out.tokens, np.float32)
  np.testing.assert_allclose(
    found.z_rl,
    token.apply(token.params, tokens),
    atol=0.02,  # these tokens were rounded to float16
  )
  np.testing.assert_array_equal(found.reference, again.reference)
  assert 0.01 < np.std(found.reference) < 1.0
