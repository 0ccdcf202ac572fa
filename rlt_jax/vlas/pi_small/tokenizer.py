"""Turns an instruction into the prompt of an `Observation`."""

import zlib

import numpy as np

VOCABULARY = 1024  # token ids are below this; 0 is padding


def tokenize(text: str, length: int = 12) -> np.ndarray:
  """Hashes lower-case words into int32 [L], zero-padded at the end.

  Args:
    text: words separated by white space; case does not matter.
    length: L; more words than that are an error.
  """
  words = text.lower().split()
  if not 1 <= len(words) <= length:
    raise ValueError(f'A prompt must have 1 to {length} words: {text!r}.')
  tokens = np.zeros(length, np.int32)
  # crc32 is the same on every machine, which hash() of a str is not.
  tokens[: len(words)] = [
    1 + zlib.crc32(word.encode('utf-8')) % (VOCABULARY - 1) for word in words
  ]
  return tokens
