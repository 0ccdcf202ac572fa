import zlib

import numpy as np
import pytest

from rlt_jax.vlas.pi_small import tokenizer


def test_words_hash_into_the_vocabulary_and_padding_is_zero():
  tokens = tokenizer.tokenize('Plug  the PLUG', 4)
  plug = 1 + zlib.crc32(b'plug') % 1023
  assert tokens.dtype == np.int32
  assert tokens.tolist()[0] == tokens.tolist()[2] == plug
  assert tokens[1] != plug and tokens[1] > 0
  assert tokens[3] == 0


def test_known_words_have_ids_of_their_own_and_others_are_refused():
  words = tokenizer.collect(['Push the plug, now.', 'the plug'], ('lift',))
  assert words == ('lift', 'now', 'plug', 'push', 'the')
  assert tokenizer.tokenize('Lift (the) PLUG!', 4, words).tolist() == [
    1,
    5,
    3,
    0,
  ]
  with pytest.raises(ValueError, match="lift, now, .*: 'screw' in 'the screw'"):
    tokenizer.tokenize('the screw', 4, words)
  with pytest.raises(ValueError, match='1 to 4 words'):
    tokenizer.tokenize('. ,', 4, words)


def test_many_words_stay_in_range():
  ids = [tokenizer.tokenize(f'word{i}', 1)[0] for i in range(5_000)]
  assert min(ids) == 1 and max(ids) == 1023


@pytest.mark.parametrize('text', ['', '  ', 'one two three'])
def test_refuses_none_and_too_many_words(text):
  with pytest.raises(ValueError, match='1 to 2 words'):
    tokenizer.tokenize(text, 2)
