"""A tokenizer of its own is read as PaliGemma's is."""

import numpy as np
import pytest

from rlt_jax.vlas.openpi import prompt, tokenizer

pytest.importorskip('sentencepiece')
_TEXTS = ('insert the plug', 'lift the plug away')


def test_a_word_and_a_value_of_the_state_take_a_token_each():
  content = tokenizer.make(_TEXTS)
  encode = prompt.read_tokenizer(content, 400, 'here')
  prompter = prompt.Prompter(encode, 24, 6)
  assert prompter.state_words.slots(6) == 7
  # Begin, a space, 'Task:', three words, ', State:'.
  assert np.count_nonzero(prompter.tokenize(_TEXTS[0])) == 7
  # A word it has not seen is spelt.
  assert np.count_nonzero(prompter.tokenize('insert a plug')) == 8
  assert tokenizer.make(_TEXTS) == content


def test_instructions_without_a_word_are_refused():
  with pytest.raises(ValueError, match='must hold a word'):
    tokenizer.make([' '])


def test_more_pieces_than_the_model_has_words_are_refused():
  with pytest.raises(ValueError, match='at most 300 in all'):
    prompt.read_tokenizer(tokenizer.make(_TEXTS), 300, 'here')


def test_a_number_in_an_instruction_is_one_of_the_values():
  content = tokenizer.make(['pick up 3 plugs'])
  encode = prompt.read_tokenizer(content, 1000, 'test')
  assert encode('pick up 3 plugs') == encode('pick up 3 plugs')
  assert len(encode('pick 3')) == len(encode('pick up'))
