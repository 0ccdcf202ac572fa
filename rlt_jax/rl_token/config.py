"""Hyper-parameters of the RL token and the sizes it shares with its VLA."""

import dataclasses
from typing import Any

import numpy as np

from rlt_jax import types

# What the token reads of a VLA's row: the embeddings of images alone, as with
# one instruction those of language are constant, or of both.
INPUTS = ('image', 'image_language')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenConfig:
  """Encoder, decoder and Stage 1 training of one RL token."""

  token_dim: int  # D, width of one VLA token
  num_image_tokens: int  # the first tokens of a VLA row, which are read
  inputs: str = 'image'  # of INPUTS
  width: int | None = None  # Z and the transformers' width; None takes D
  num_layers: int = 2  # in the encoder, and again in the decoder
  num_heads: int = 4  # must divide the width
  mlp_ratio: int = 2  # hidden MLP units per unit of width
  context_dropout: float = 0.9  # share of teacher tokens hidden from a row
  full_context_share: float = 0.1  # rows that keep every teacher token
  alpha: float = 0.0  # weight of the VLA's own loss; 0 leaves the VLA alone
  learning_rate: float = 1e-3  # peak; cosine to zero, from-scratch widths
  vla_learning_rate: float = 2.5e-5  # peak, only used when alpha > 0
  warmup_steps: int = 100  # linear rise to the peak
  weight_decay: float = 1e-4  # decoupled, on encoder and decoder
  clip_norm: float = 50.0  # global norm; L_ro sums over D, so it is large
  vla_clip_norm: float = 1.0  # the same for alpha * L_vla
  batch_size: int = 32  # frames per step
  steps: int = 2_000  # the paper takes 2,000 to 10,000

  def __post_init__(self):
    if self.token_dim < 1 or self.num_image_tokens < 1:
      raise ValueError(
        'token_dim and num_image_tokens must be positive: '
        f'{self.token_dim}, {self.num_image_tokens}.'
      )
    if self.num_layers < 1 or self.mlp_ratio < 1 or self.num_heads < 1:
      raise ValueError(
        'num_layers, mlp_ratio and num_heads must be positive: '
        f'{self.num_layers}, {self.mlp_ratio}, {self.num_heads}.'
      )
    if self.z_dim < 1 or self.z_dim % self.num_heads:
      raise ValueError(
        'The width must be a positive multiple of num_heads: '
        f'{self.z_dim} and {self.num_heads}.'
      )
    if self.inputs not in INPUTS:
      raise ValueError(f'inputs must be one of {INPUTS}: {self.inputs!r}.')
    for name in ('context_dropout', 'full_context_share'):
      if not 0.0 <= getattr(self, name) <= 1.0:
        raise ValueError(f'{name} must be in [0, 1]: {getattr(self, name)}.')
    if self.alpha < 0.0 or self.weight_decay < 0.0:
      raise ValueError(
        'alpha and weight_decay must not be negative: '
        f'{self.alpha}, {self.weight_decay}.'
      )
    for name in (
      'learning_rate',
      'vla_learning_rate',
      'clip_norm',
      'vla_clip_norm',
    ):
      if getattr(self, name) <= 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    if self.batch_size < 1 or not 0 <= self.warmup_steps < self.steps:
      raise ValueError(
        'batch_size must be positive and warmup_steps in [0, steps): '
        f'{self.batch_size}, {self.warmup_steps}, {self.steps}.'
      )

  def numbers(self) -> dict[str, Any]:
    """Returns the fields for a fingerprint; `inputs` came later than it."""
    fields = dataclasses.asdict(self)
    if self.inputs == 'image':
      del fields['inputs']
    return fields

  @property
  def z_dim(self) -> int:
    """Width Z of the RL token."""
    return self.token_dim if self.width is None else self.width


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepConfig:
  """How a step is computed; its result is the same but for rounding."""

  accumulate: int = 1  # parts of a batch, computed one after the other
  remat: bool = False  # compute activations again instead of keeping them


def count_image_tokens(image_mask: types.Array) -> int:
  """Returns how many leading tokens come from cameras.

  Args:
    image_mask: bool [N] or [B, N] of a `VlaOutput`; a concrete array.

  Raises:
    ValueError: rows differ, or a language token precedes an image token.
  """
  rows = np.atleast_2d(np.asarray(image_mask, bool))
  count = int(rows[0].sum())
  expected = np.arange(rows.shape[1]) < count
  if count < 1 or not (rows == expected).all():
    raise ValueError(
      'Image tokens must come first, equally many in every row: '
      f'{rows.astype(int).tolist()[:4]}.'
    )
  return count
