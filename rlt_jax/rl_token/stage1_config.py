"""Settings of Stage 1."""

import dataclasses
import math

from rlt_jax.rl_token.config import INPUTS, StepConfig, TokenConfig

CACHES = ('memory', 'none')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage1Config:
  """Settings of one Stage 1 training; the sizes of tokens are the VLA's."""

  episodes: int = 60  # demonstrations, at most
  steps: int = 2_000  # gradient steps
  alpha: float = 0.0  # weight of the VLA's own loss; 0 leaves the VLA alone
  seed: int = 0  # of episodes, split, weights and order
  # 'memory' embeds every frame once and keeps the tokens, 'none' embeds each
  # batch as it comes, in memory that does not grow with the data.
  cache: str = 'memory'
  devices: int = 1  # that share a batch; each holds the VLA
  batch_size: int = 32  # frames of a gradient step
  accumulate: int = 1  # parts of a batch, one after the other to save memory
  # Activations are computed again in the backward pass: less memory, a third
  # more arithmetic.
  remat: bool = False
  vla_batch: int = 32  # frames of a query of the VLA, at most batch_size
  # Frames to train on that statistics and probes read, drawn by the seed; all
  # of them where there are no more.
  sample_frames: int = 4_096
  held_out_frames: int = 1_024  # of held-out demonstrations, for the metrics
  buffer_frames: int = 2_048  # read at a time and mixed; three such in memory
  # Frames of one demonstration in a buffer. More of them read long videos less
  # often, fewer of them mix better.
  frames_per_read: int = 128
  read_threads: int = 2  # that read frames ahead
  # 'image', or 'image_language': the token reads the embeddings of the
  # instruction too, for a token that several tasks share.
  inputs: str = 'image'
  width: int | None = None  # Z; None takes the width of the VLA's tokens
  num_layers: int = 2  # in the encoder, and again in the decoder
  num_heads: int = 4  # of both; must divide the width
  learning_rate: float = 1e-3  # peak; lower it for widths above a few hundred

  def __post_init__(self):
    for name, low in (
      ('episodes', 2), ('steps', 1), ('alpha', 0), ('seed', 0),
      ('devices', 1), ('batch_size', 1), ('accumulate', 1), ('vla_batch', 1),
      ('sample_frames', 2), ('held_out_frames', 2), ('buffer_frames', 1),
      ('frames_per_read', 1), ('read_threads', 1),
    ):  # fmt: skip
      if not low <= getattr(self, name) < math.inf:
        raise ValueError(
          f'{name} must be at least {low}: {getattr(self, name)}.'
        )
    if self.cache not in CACHES:
      raise ValueError(f'cache must be one of {CACHES}: {self.cache!r}.')
    if self.inputs not in INPUTS:
      raise ValueError(f'inputs must be one of {INPUTS}: {self.inputs!r}.')
    if self.batch_size % (self.accumulate * self.devices):
      raise ValueError(
        'batch_size must be a multiple of accumulate times devices: '
        f'{self.batch_size}, {self.accumulate} times {self.devices}.'
      )
    if self.batch_size % self.query_rows or self.query_rows % self.devices:
      raise ValueError(
        'vla_batch must divide batch_size and be a multiple of devices: '
        f'{self.query_rows} of {self.batch_size}, {self.devices} devices.'
      )

  @property
  def query_rows(self) -> int:
    """Frames of a query of the VLA."""
    return min(self.vla_batch, self.batch_size)

  @property
  def step(self) -> StepConfig:
    """How a gradient step is computed."""
    return StepConfig(accumulate=self.accumulate, remat=self.remat)

  def make_token(self, num_image_tokens: int, token_dim: int) -> TokenConfig:
    """Returns the settings of the token for tokens of a VLA."""
    return TokenConfig(
      token_dim=token_dim,
      num_image_tokens=num_image_tokens,
      inputs=self.inputs,
      width=self.width,
      num_layers=self.num_layers,
      num_heads=self.num_heads,
      learning_rate=self.learning_rate,
      batch_size=self.batch_size,
      steps=self.steps,
      warmup_steps=min(100, self.steps // 10),
      alpha=self.alpha,
    )
