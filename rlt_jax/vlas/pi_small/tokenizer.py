"""Turns an instruction into the prompt of an `Observation`."""

from collections.abc import Iterable, Sequence
import zlib

import numpy as np

_MARKS = '.,;:!?"()'
VOCABULARY = 1024  # token ids are below this; 0 is padding


def tokenize(
  text: str, length: int = 12, words: Sequence[str] = ()
) -> np.ndarray:
  """Turns lower-case words into int32 [L], zero-padded at the end.

  Args:
    text: words separated by white space; case does not matter.
    length: L; more words than that are an error.
    words: that have a meaning, in the order of their ids from 1; marks beside
      a word do not matter then. Empty hashes each word, whatever it is.

  Raises:
    ValueError: no word, too many, or one that is unknown.
  """
  found = split(text) if words else text.lower().split()
  if not 1 <= len(found) <= length:
    raise ValueError(f'A prompt must have 1 to {length} words: {text!r}.')
  check_words(text, words)
  ids = {word: i for i, word in enumerate(words, start=1)}
  tokens = np.zeros(length, np.int32)
  tokens[: len(found)] = [
    ids[word] if words else hashed(word) for word in found
  ]
  return tokens


def check_words(text: str, words: Sequence[str]) -> None:
  """Raises a ValueError with the words of a text that are not in `words`.

  Args:
    text: an instruction.
    words: that have a meaning; empty where that is not known.
  """
  if unknown := [word for word in split(text) if words and word not in words]:
    raise ValueError(
      f'An instruction must be made of the words that the VLA learned, '
      f'{", ".join(words)}: {", ".join(map(repr, unknown))} in {text!r}.'
    )


def hashed(word: str) -> int:
  """Returns the id of a word in the vocabulary of hashes."""
  # crc32 is the same on every machine, which hash() of a str is not.
  return 1 + zlib.crc32(word.encode('utf-8')) % (VOCABULARY - 1)


def split(text: str) -> list[str]:
  """Returns the words of a text, in lower case, without marks beside them."""
  found = (word.strip(_MARKS) for word in text.lower().split())
  return [word for word in found if word]


def collect(texts: Iterable[str], known: Sequence[str] = ()) -> tuple[str, ...]:
  """Returns known words in their order, then the new ones of texts, sorted."""
  found = {word for text in texts for word in split(text)}
  return (*known, *sorted(found - set(known)))
