import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.vlas.pi_small.pi_vla import PiVla
from tests.vlas import toy_vla

_TOY = 'tests.vlas.toy_vla:make'


def make_text():
  """A function that returns another type."""
  return 'no VLA'


def make_two(first, second):
  """A function that --vla= cannot call."""


def test_a_shipped_vla_opens_by_name_and_by_folder(assets):
  assert isinstance(vlas.load('pi_small'), PiVla)
  vla = vlas.load(f'pi_small:{assets / "vla"}')
  assert vla.spec.token_dim == 32


def test_a_vla_of_ones_own_opens_by_module_and_function():
  assert isinstance(vlas.load(_TOY), toy_vla.ToyVla)
  assert vlas.load(f'{_TOY}:16').spec.token_dim == 16


@pytest.mark.parametrize(
  'text, sentence',
  [
    ('pi_big', r"one of \['openpi', 'pi_small'\], or .*: 'pi_big"),
    ('no.such:make', "module that can be imported: 'no.such:make"),
    ('tests.vlas.toy_vla:nothing', "has no 'nothing'"),
    ('openpi:pi05_aloha', 'must be openpi:CONFIGURATION:CHECKPOINT, .*aloha'),
    ('openpi:pi05_aloha:/nowhere', 'must be a folder with params .*nowhere'),
    ('pi_small:/nowhere', 'a folder with vla.json, .*: /nowhere'),
    ('ws://127.0.0.1:1', 'A VLA behind a socket .* Only practice'),
    (f'{__name__}:make_text', 'FrozenVla: .* returned a str'),
    (f'{__name__}:make_two', "takes nothing, or .*:make_two' .missing"),
    (f'{__name__}:make_text:8', 'takes nothing, or .*too many'),
  ],
)
def test_a_bad_value_is_refused_with_its_rule(text, sentence):
  with pytest.raises(ValueError, match=sentence):
    vlas.load(text)


def _wrong_prompt(self, text):
  return np.zeros(3, np.int32)


def _wrong_type(self, params, observation, noise):
  return noise


def _wrong_chunk(self, params, observation, noise):
  out = _APPLY(self, params, observation, noise)
  return out._replace(reference=noise[:, 1:])


_APPLY = toy_vla.ToyVla.apply_with_noise


@pytest.mark.parametrize(
  'name, wrong, sentence',
  [
    ('tokenize', _wrong_prompt, r'must be int32 \(1,\), .*: int32 \(3,\)'),
    ('apply_with_noise', _wrong_type, 'must return a VlaOutput'),
    ('apply_with_noise', _wrong_chunk, r'reference .*\(2, 20, 14\)'),
  ],
)
def test_a_vla_that_contradicts_its_spec_is_refused(
  monkeypatch, name, wrong, sentence
):
  monkeypatch.setattr(toy_vla.ToyVla, name, wrong)
  with pytest.raises(ValueError, match=sentence):
    vlas.load(_TOY)
