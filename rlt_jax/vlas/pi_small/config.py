"""Sizes of the VLA."""

import dataclasses
from typing import Any

import numpy as np

from rlt_jax.vlas.pi_small import tokenizer

_STEM_SIDE = 4  # pixels per side of the first patch; two merges follow
PATCH = 4 * _STEM_SIDE  # pixels per side of one image token
# What the VLA reads of the arms: what its task measures, or positions and rates
# of the joints, which all tasks of these arms have.
STATES = ('proprio', 'joints')
_TEXTS = ('cameras', 'words', 'state')  # fields that are no numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiConfig:
  """Inputs, outputs and widths; the default has 3.6 M parameters."""

  cameras: tuple[str, ...] = ('base', 'wrist_left', 'wrist_right')
  image_size: int = 64  # S, pixels; a multiple of 16
  state: str = 'proprio'  # of STATES
  proprio_dim: int = 28  # entries of the state
  prompt_length: int = 12  # L
  words: tuple[str, ...] = ()  # with a meaning; empty hashes any word
  vocabulary: int = tokenizer.VOCABULARY  # prompt ids are below this
  horizon: int = 50  # H, control steps: 1 s at 50 Hz
  action_dim: int = 14  # A
  prefix_width: int = 192  # D, of image and language tokens
  expert_width: int = 96  # of state and action tokens
  depth: int = 4  # layers, the same in both experts
  num_heads: int = 4  # query heads; they share one key and value head
  head_dim: int = 48  # the same in both experts
  mlp_ratio: int = 2  # gated MLP units per unit of width
  stem_widths: tuple[int, int] = (64, 128)  # after 4x4 and 8x8 pixels
  summary_widths: tuple[int, int] = (64, 256)  # of a patch, of all of them
  readout_slots: int = 8  # learned queries that pool the image tokens
  readout_width: int = 128  # hidden units of the readout
  # m and rad: scale of the tanh-saturated copy of the remaining motion, so that
  # errors near the goal are not lost beside those at the start.
  readout_near: tuple[float, float] = (0.002, 0.035)
  euler_steps: int = 10  # integration steps from noise to chunk

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):  # what JSON makes of a tuple
        value = tuple(value)
        object.__setattr__(self, field.name, value)
      if field.name in _TEXTS:
        continue
      numbers = value if isinstance(value, tuple) else (value,)
      if not numbers or min(numbers) <= 0:
        raise ValueError(f'{field.name} must be positive: {value}.')
    if not self.cameras or len(set(self.cameras)) != len(self.cameras):
      raise ValueError(f'cameras must be distinct names: {self.cameras}.')
    if self.image_size % PATCH:
      raise ValueError(
        f'image_size must be a multiple of {PATCH}: {self.image_size}.'
      )
    if self.proprio_dim < self.action_dim:
      raise ValueError(
        'proprio_dim must cover a position per action entry: '
        f'{self.proprio_dim} < {self.action_dim}.'
      )
    if self.state not in STATES:
      raise ValueError(f'state must be one of {STATES}: {self.state!r}.')
    if self.state == 'joints' and self.proprio_dim != 2 * self.action_dim:
      raise ValueError(
        'proprio_dim must be a position and a rate per action entry, '
        f'{2 * self.action_dim}, where the state is joints: {self.proprio_dim}.'
      )
    if self.words and self.vocabulary != len(self.words) + 1:
      raise ValueError(
        f'vocabulary must be one more than the {len(self.words)} words: '
        f'{self.vocabulary}.'
      )
    if len(self.readout_near) != 2:
      raise ValueError(f'readout_near must be m and rad: {self.readout_near}.')

  def tokenize(self, text: str) -> np.ndarray:
    """Returns an instruction as int32 [L]; see `tokenizer.tokenize`."""
    return tokenizer.tokenize(text, self.prompt_length, self.words)

  def numbers(self) -> dict[str, Any]:
    """Returns the fields for a fingerprint.

    Fields that came later are left out where they change nothing, so that older
    weights keep theirs.
    """
    fields = dataclasses.asdict(self)
    for name, default in (('state', 'proprio'), ('words', ())):
      if fields[name] == default:
        del fields[name]
    return fields

  @property
  def num_image_tokens(self) -> int:
    """Image tokens of all cameras."""
    return len(self.cameras) * (self.image_size // PATCH) ** 2

  @property
  def num_tokens(self) -> int:
    """N, image tokens and then language tokens."""
    return self.num_image_tokens + self.prompt_length

  @property
  def target_dim(self) -> int:
    """Entries of the readout: remaining motion, plain and saturated."""
    return 12
