"""The words of a query: the instruction and, for π0.5, the robot's state.

The instruction is tokenized on the host, once. The state changes from query to
query, so its words are put together in the traced program, from tables of the
tokens of every value that can occur. Tokenizing the whole sentence gives the
same, which is checked when the tables are made.
"""

import os
import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array

_BINS = 256  # of [-1, 1]; a value below falls into bin -1
_BEGIN = 2  # the id that opens a sentence
_ANCHOR = 'Task: a, State:'
_TAIL = ';\nAction: '
_TRIALS = 32  # sentences that are compared when the tables are made
FILE = 'paligemma_tokenizer.model'  # in a checkpoint


class StateWords(NamedTuple):
  """Tokens of a state's value, int32, rows by bin + 1, 0 is padding.

  inner: [257, m] a value before another one.
  last: [257, k] the last value and all that follows it.
  """

  inner: Array
  last: Array

  def slots(self, entries: int) -> int:
    """Returns the places that the words of a state take."""
    return (entries - 1) * self.inner.shape[1] + self.last.shape[1]

  def append(self, prompt: Array, state: Array) -> Array:
    """Returns int32 [B, L + slots]: an instruction's words, then a state's.

    Args:
      prompt: int32 [B, L] of `Prompter.tokenize`.
      state: [B, n] normalized.
    """
    rows = digitize(state) + 1
    inner, last = jnp.asarray(self.inner), jnp.asarray(self.last)
    inner = inner[rows[:, :-1]].reshape(len(rows), -1)
    return jnp.concatenate([prompt, inner, last[rows[:, -1]]], axis=1)


def digitize(state: Array) -> Array:
  """Returns the bin, -1 to 255, of normalized numbers."""
  edges = np.linspace(-1.0, 1.0, _BINS + 1)[:-1].astype(np.float32)
  return jnp.searchsorted(edges, state, side='right').astype(jnp.int32) - 1


class Prompter:
  """Tokenizes instructions as openpi does.

  state_words: tables of the state's words, None where the prompt has none.
  length: L, ids of an instruction.
  """

  def __init__(self, encode, length: int, state_entries: int = 0):
    """Makes the tables and compares them with whole sentences.

    Args:
      encode: text -> list of ids; of a SentencePiece model.
      length: of the whole prompt; it must hold the longest state.
      state_entries: n of a state that is part of the prompt; 0 for none.

    Raises:
      ValueError: no room for an instruction, or another kind of tokenizer.
    """
    self._encode, self._entries = encode, state_entries
    self.state_words, self.length = None, length
    if state_entries:
      self.state_words = _make_words(encode)
      slots = self.state_words.slots(state_entries)
      self.length = length - slots
      if self.length < 8:
        raise ValueError(
          f'prompt_length must leave room for an instruction beside the '
          f'{slots} tokens that the state may take: {length}.'
        )
      self._check_words()

  def tokenize(self, text: str) -> np.ndarray:
    """Returns an instruction as int32 [L], padded with 0.

    Raises:
      ValueError: an instruction that is empty, or that would be cut.
    """
    clean = text.strip().replace('_', ' ').replace('\n', ' ')
    if not clean.strip():
      raise ValueError(f'The instruction must not be empty: {text!r}.')
    if self._entries:
      ids = self._encode(f'Task: {clean}, State:')
    else:
      ids = [*self._encode(clean), *self._encode('\n')]
    ids = [_BEGIN, *ids]
    if len(ids) > self.length:
      rest = (
        ' beside the longest state, which would be cut first'
        if self._entries
        else ''
      )
      raise ValueError(
        f'The instruction must fit in {self.length} tokens{rest}: it has '
        f'{len(ids)}. Shorten it, or raise prompt_length to what the '
        f'checkpoint was trained with: {text!r}.'
      )
    return np.array(ids + [0] * (self.length - len(ids)), np.int32)

  def _check_words(self):
    """Raises a ValueError unless tables and whole sentences agree."""
    rng = np.random.default_rng(0)
    words, head = self.state_words, self._encode(_ANCHOR)
    for _ in range(_TRIALS):
      bins = rng.integers(-1, _BINS, self._entries)
      text = ' '.join(map(str, bins))
      whole = self._encode(f'{_ANCHOR} {text}{_TAIL}')
      parts = [words.inner[bins[:-1] + 1].ravel(), words.last[bins[-1] + 1]]
      parts = np.concatenate([head, *parts])
      if whole != [int(x) for x in parts if x]:
        raise ValueError(
          "The tokenizer must be PaliGemma's, which splits a sentence word by "
          f'word: it reads {text!r} otherwise.'
        )


def open_tokenizer(path: pathlib.Path, vocabulary: int):
  """Returns a SentencePiece model's function from text to ids, and its bytes.

  Args:
    path: of the file.
    vocabulary: rows of the model's table of words.

  Raises:
    ValueError: no SentencePiece installed, another kind of file, or other ids.
  """
  content = path.read_bytes()
  return read_tokenizer(content, vocabulary, path), content


def read_tokenizer(content: bytes, vocabulary: int, where):
  """Returns the function from text to ids of a SentencePiece model.

  Args:
    content: of a file.
    vocabulary: rows of the model's table of words.
    where: for messages.

  Raises:
    ValueError: no SentencePiece installed, another kind of file, or other ids.
  """
  try:
    import sentencepiece
  except ImportError:
    raise ValueError(
      "openpi models need the package sentencepiece to read PaliGemma's "
      "tokenizer: pip install 'rlt_jax[openpi]'."
    ) from None
  try:
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
  except RuntimeError as error:
    raise ValueError(
      f'The tokenizer must be a SentencePiece model: {where} ({error}).'
    ) from None
  special = model.pad_id(), model.eos_id(), model.bos_id()
  if special != (0, 1, _BEGIN) or model.get_piece_size() > vocabulary:
    raise ValueError(
      f"The tokenizer must have PaliGemma's ids, 0, 1 and 2 for padding, end "
      f'and begin and at most {vocabulary} in all: {special} and '
      f'{model.get_piece_size()} in {where}.'
    )
  return model.encode


def find_tokenizer(given: str, checkpoint: pathlib.Path) -> pathlib.Path:
  """Returns PaliGemma's tokenizer on this machine; nothing is downloaded.

  Args:
    given: a path, or '' for the places named in the error.
    checkpoint: folder of the checkpoint.

  Raises:
    ValueError: no such file.
  """
  if given:
    places = [pathlib.Path(given).expanduser()]
  else:
    cache = pathlib.Path(os.environ.get('OPENPI_DATA_HOME', '~/.cache/openpi'))
    places = [
      checkpoint / FILE,
      checkpoint / 'assets' / FILE,
      cache.expanduser() / 'big_vision' / FILE,
    ]
  for place in places:
    if place.is_file():
      return place
  raise ValueError(
    f"PaliGemma's tokenizer must be one of {[str(x) for x in places]}. openpi "
    'leaves it at the last of its places when it runs once; else download '
    'gs://big_vision/paligemma_tokenizer.model and copy it into the '
    "checkpoint's folder, or set tokenizer in the configuration."
  )


def _make_words(encode):
  """Returns the tables of a state's words."""
  head = encode(_ANCHOR)

  def words(tail):
    rows = []
    for value in range(-1, _BINS):
      ids = encode(f'{_ANCHOR} {value}{tail}')
      rows.append(ids[len(head) :])
    width = max(map(len, rows))
    return np.array([row + [0] * (width - len(row)) for row in rows], np.int32)

  return StateWords(words(''), words(_TAIL))
