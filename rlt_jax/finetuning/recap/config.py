"""Settings of RECAP."""

import dataclasses

from rlt_jax.finetuning.config import FinetuneConfig

# Words behind the instruction. The paper writes 'Advantage: positive'.
POSITIVE, NEGATIVE = 'positive', 'negative'


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecapConfig(FinetuneConfig):
  """What is learned from, and how frames are marked."""

  driver: str = 'vla'
  kept: str = 'episodes'
  rounds: int = 2
  stride: int = 5  # divides lookahead
  # Control steps from a state to the one whose value is compared with its own.
  lookahead: int = 50
  # Share of the frames that nobody but the VLA drove which are marked as good;
  # those of a person and of demonstrations all are.
  positive_share: float = 0.4
  # Share of the frames that have no mark, so that the VLA also learns without.
  unmarked_share: float = 0.3
  bins: int = 201  # of the distribution over returns
  value_steps: int = 600  # gradient steps of the value
  value_batch: int = 256
  value_rate: float = 1e-3
  value_units: int = 128  # in each of its two layers

  def __post_init__(self):
    super().__post_init__()
    for name in ('lookahead', 'value_steps', 'value_batch', 'value_units'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    if self.lookahead % self.stride:
      raise ValueError(
        f'lookahead must be a multiple of stride {self.stride}: '
        f'{self.lookahead}.'
      )
    if self.bins < 2:
      raise ValueError(f'bins must be at least 2: {self.bins}.')
    if not 0.0 < self.positive_share < 1.0:
      raise ValueError(
        f'positive_share must lie in (0, 1): {self.positive_share}.'
      )
    if not 0.0 <= self.unmarked_share < 1.0:
      raise ValueError(
        f'unmarked_share must lie in [0, 1): {self.unmarked_share}.'
      )
