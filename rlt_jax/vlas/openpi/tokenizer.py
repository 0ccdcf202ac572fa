"""Makes a SentencePiece tokenizer for a model that is trained from scratch.

A model that starts from published weights reads PaliGemma's 257,152 words. One
that starts from nothing would only carry that table along.
"""

from collections.abc import Sequence
import io

# Ids as PaliGemma's: padding, end, begin; then what is unknown.
_IDS = {'pad_id': 0, 'eos_id': 1, 'bos_id': 2, 'unk_id': 3}
# A state takes one piece a value, and what follows the last one a piece.
_VALUES = [f'▁{value}' for value in range(-1, 256)]
_FRAME = ['Task:', ',▁State:', ';\nAction:▁', '\n']


def make(instructions: Sequence[str]) -> bytes:
  """Returns a SentencePiece model of words for some instructions.

  Other instructions can be read too, as far as their letters are among ASCII's.

  Args:
    instructions: texts, at least one.

  Raises:
    ValueError: no instruction, or no SentencePiece installed.
  """
  try:
    import sentencepiece
  except ImportError:
    raise ValueError(
      'A tokenizer is made with the package sentencepiece: '
      "pip install 'rlt_jax[openpi]'."
    ) from None
  words = sorted({word for text in instructions for word in text.split()})
  if not words:
    raise ValueError(
      f'Instructions must hold a word to make a tokenizer: {instructions}.'
    )
  letters = ''.join(map(chr, range(33, 127)))
  # A number as a word is one of the values, too.
  own = [*_FRAME, *_VALUES, *(f'▁{word}' for word in words)]
  pieces = list(dict.fromkeys(own))
  content = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter([*instructions, letters]),
    model_writer=content,
    model_type='char',
    vocab_size=len(pieces) + len(_IDS) + len(letters) + 1,
    user_defined_symbols=pieces,
    required_chars=letters,
    normalization_rule_name='identity',
    remove_extra_whitespaces=False,
    hard_vocab_limit=False,
    minloglevel=2,
    **_IDS,
  )
  return content.getvalue()
