"""openpi's tokens, in one traced program or refused."""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest

from rlt_jax.vlas.openpi import prompt
from tests.vlas.openpi import models

_CASES = json.loads((models.REFERENCE / 'transforms.json').read_text())


@pytest.fixture(scope='module')
def encode():
  pytest.importorskip('sentencepiece')
  return prompt.open_tokenizer(models.TOKENIZER, 512)[0]


def _words(ids, mask=None):
  ids = np.asarray(ids)
  return ids[np.asarray(mask, bool)] if mask is not None else ids[ids != 0]


def test_bins_are_openpis_outside_of_the_range_too():
  case = _CASES['cases']['pi05']
  state = np.float32(case['state_normalised'])[: len(case['state_bins'])]
  np.testing.assert_array_equal(prompt.digitize(state), case['state_bins'])
  edges = np.float32([-1.5, -1.0, -0.9921875, 0.0, 0.9999, 1.0, 7.0])
  found = prompt.digitize(edges)
  np.testing.assert_array_equal(found, [-1, 0, 1, 128, 255, 255, 255])


def test_a_sentence_with_the_state_equals_openpis(encode):
  case = _CASES['cases']['pi05']
  prompter = prompt.Prompter(encode, 200, 14)
  state = np.float32(case['state_normalised'])[None, :14]
  text = prompter.tokenize(_CASES['prompt'])[None]
  found = jax.jit(prompter.state_words.append)(text, state)
  expected = _words(case['tokens'], case['token_mask'])
  np.testing.assert_array_equal(_words(found), expected)
  assert found.shape == (1, 200) and (expected != 0).all()


@pytest.mark.parametrize('name', ['pi0', 'pi05_no_state'])
def test_a_sentence_without_a_state_equals_openpis(encode, name):
  case = _CASES['cases'][name]
  prompter = prompt.Prompter(encode, case['prompt_length'])
  ids = prompter.tokenize(_CASES['prompt'])
  np.testing.assert_array_equal(ids, case['tokens'])
  assert ids.dtype == np.int32


def test_a_prompt_that_openpi_would_cut_is_refused(encode):
  case = _CASES['cases']['pi05_truncated']
  assert all(case['token_mask'])  # openpi cut the state
  with pytest.raises(ValueError, match='leave room .* 61 tokens .*: 24'):
    prompt.Prompter(encode, case['prompt_length'], 14)
  prompter = prompt.Prompter(encode, 72, 14)
  assert prompter.length == 11
  with pytest.raises(ValueError, match='fit in 11 tokens beside the longest'):
    prompter.tokenize(_CASES['prompt'])
  short = prompt.Prompter(encode, 9)
  with pytest.raises(ValueError, match='fit in 9 tokens: it has 10'):
    short.tokenize(_CASES['prompt'])


@pytest.mark.parametrize('text', ['', '  ', '_', '\n'])
def test_an_empty_instruction_is_refused(text):
  prompter = prompt.Prompter(models.encode, 30)
  with pytest.raises(ValueError, match='must not be empty'):
    prompter.tokenize(text)


def test_the_longest_state_fits_beside_the_longest_instruction():
  prompter = prompt.Prompter(models.encode, 80, 14)
  worst = np.full((1, 14), 0.9, np.float32)
  text = np.full((1, prompter.length), 7, np.int32)
  found = np.asarray(prompter.state_words.append(text, worst))
  whole = models.encode(' 243' * 14 + ';\nAction: ')
  np.testing.assert_array_equal(_words(found)[prompter.length :], whole)


def test_a_tokenizer_that_joins_words_is_refused():
  def encode(text):
    return models.encode(text.replace('1 1', '8'))

  with pytest.raises(ValueError, match="must be PaliGemma's, which splits"):
    prompt.Prompter(encode, 200, 14)


def test_the_tokenizer_is_looked_for_where_openpi_leaves_it(
  tmp_path, monkeypatch
):
  monkeypatch.setenv('OPENPI_DATA_HOME', str(tmp_path / 'cache'))
  with pytest.raises(ValueError, match='one of .*big_vision.*copy it'):
    prompt.find_tokenizer('', tmp_path)
  file = tmp_path / 'cache' / 'big_vision' / 'paligemma_tokenizer.model'
  file.parent.mkdir(parents=True)
  file.touch()
  assert prompt.find_tokenizer('', tmp_path) == file
  nearer = tmp_path / file.name
  nearer.touch()
  assert prompt.find_tokenizer('', tmp_path) == nearer
  with pytest.raises(ValueError, match=r"one of \['/none'\]"):
    prompt.find_tokenizer('/none', tmp_path)


def test_without_sentencepiece_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'sentencepiece', None)
  with pytest.raises(ValueError, match=r"pip install 'rlt_jax\[openpi\]'"):
    prompt.open_tokenizer(models.TOKENIZER, 512)


def test_another_file_or_vocabulary_is_refused(tmp_path):
  pytest.importorskip('sentencepiece')
  other = tmp_path / 'other.model'
  other.write_text('no model')
  with pytest.raises(ValueError, match='must be a SentencePiece model'):
    prompt.open_tokenizer(other, 512)
  with pytest.raises(ValueError, match='at most 100 in all: .* 420'):
    prompt.open_tokenizer(pathlib.Path(models.TOKENIZER), 100)
