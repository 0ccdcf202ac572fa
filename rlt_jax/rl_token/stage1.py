"""Stage 1 from demonstrations to a token: frames, embeddings, training, probes.

Works for any `FrozenVla`; alpha > 0 needs a `TrainableVla`.
"""

from collections.abc import Callable
import dataclasses
import time
from typing import Any

import jax
import numpy as np

from rlt_jax import batching
from rlt_jax.rl_token import diagnostics, rl_token, train
from rlt_jax.rl_token.config import count_image_tokens, TokenConfig
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.types import Observation
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demos import DemoBatch
from rlt_jax.vlas.vla import FrozenVla, TrainableVla

_BATCH = 64  # frames per VLA query
HELD_OUT = 0.1  # of the demonstrations, for the diagnostics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage1Config:
  """Settings of one Stage 1 training; sizes follow from the VLA."""

  episodes: int = 60  # demonstrations, at most
  steps: int = 2_000  # gradient steps
  alpha: float = 0.0  # weight of the VLA's own loss; 0 leaves the VLA alone
  seed: int = 0  # of episodes, split, weights and order

  def __post_init__(self):
    for name, low in (('episodes', 2), ('steps', 1), ('alpha', 0)):
      if getattr(self, name) < low:
        raise ValueError(
          f'{name} must be at least {low}: {getattr(self, name)}.'
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage1Result:
  """What `run` returns.

  vla: the one given, or with alpha > 0 the one trained along.
  metrics: `diagnostics.diagnose` and `probe_motion`, on held-out frames.
  episodes, frames: how many were used. minutes: of training.
  """

  token: RlToken
  vla: FrozenVla
  metrics: dict[str, float]
  episodes: int
  frames: int
  minutes: float


def choose_frames(frames: DemoBatch, count: int, seed: int) -> np.ndarray:
  """Returns the rows of up to `count` episodes of the most common instruction.

  With one instruction language embeddings are constant, and the token reads
  image embeddings only.
  """
  first = np.unique(frames.episode, return_index=True)[1]
  _, kind, sizes = np.unique(
    frames.prompt[first], axis=0, return_inverse=True, return_counts=True
  )
  is_task = kind.ravel() == np.argmax(sizes)
  episodes = frames.episode[first][is_task]
  chosen = np.random.default_rng(seed).permutation(episodes)[:count]
  return np.flatnonzero(np.isin(frames.episode, chosen))


def embed_frames(
  vla: FrozenVla, frames: DemoBatch
) -> tuple[np.ndarray, np.ndarray]:
  """Returns image tokens float32 [F, N, D] and their mask bool [F, N]."""
  key = jax.random.key(0)  # only the reference, left out, depends on it

  @jax.jit
  def query(params, observation):
    out = vla.apply(params, observation, key)
    return out.tokens, out.mask, out.image_mask

  def image_tokens(observation):
    tokens, mask, image_mask = query(vla.params, observation)
    count = count_image_tokens(image_mask)
    return np.asarray(tokens[:, :count], np.float32), np.asarray(
      mask[:, :count]
    )

  images = {name: frames.images[name] for name in vla.spec.cameras}
  observation = Observation(images, frames.proprio, frames.prompt)
  return batching.map_in_batches(image_tokens, observation, _BATCH)


def probe_motion(
  token: RlToken,
  tokens: np.ndarray,
  mask: np.ndarray,
  frames: DemoBatch,
  split: tuple[np.ndarray, np.ndarray],
) -> dict[str, float]:
  """Scores how well features predict the remaining motion of a demonstration.

  Args:
    token: trained.
    tokens, mask: of `embed_frames`.
    frames: the same F frames.
    split: rows to fit on and rows to test on.

  Returns:
    probe_r2_* (pooled over axes) and probe_rmse_* (an axis; m, rad) of ridge
    regression from z_rl, the mean image token and the joints.
  """
  joints = frames.proprio[:, : frames.chunk.shape[2]]
  z_rl = train.encode_all(token.params, tokens, mask, token.config)
  visible = mask[..., None]
  mean_token = (tokens * visible).sum(1) / np.maximum(visible.sum(1), 1)
  features = {'z_rl': z_rl, 'mean_token': mean_token, 'joints': joints}
  (fit, test), results = split, {}
  for part, entries in (('tip', slice(0, 3)), ('turn', slice(3, 6))):
    target = frames.remaining_motion[:, entries]
    spread = np.square(target[test] - target[test].mean(0)).mean(0).sum()
    for name, x in features.items():
      out = diagnostics.linear_probe(x[fit], target[fit], x[test], target[test])
      error = np.square(out['rmse'])
      results[f'probe_r2_{part}_{name}'] = float(1.0 - error.sum() / spread)
      results[f'probe_rmse_{part}_{name}'] = float(np.sqrt(error.mean()))
    results[f'probe_rmse_{part}_constant'] = float(np.sqrt(spread / len(error)))
  return results


def run(
  vla: FrozenVla,
  frames: DemoBatch,
  config: Stage1Config,
  log: Callable[[dict[str, Any]], None] | None = None,
) -> Stage1Result:
  """Trains a token on demonstrations and measures it on held-out ones.

  Args:
    vla: frozen, unless alpha > 0.
    frames: prompts by this VLA's `tokenize`.
    config: the settings.
    log: called with every logged step's metrics.

  Raises:
    ValueError: alpha > 0 with a VLA that cannot be trained.
  """
  if config.alpha > 0.0 and not isinstance(vla, TrainableVla):
    raise ValueError(
      'alpha above 0 needs a VLA with a training loss (TrainableVla): alpha '
      f'is {config.alpha}, the VLA a {type(vla).__name__}. Leave alpha at 0.'
    )
  frames = demos_lib.take(
    frames, choose_frames(frames, config.episodes, config.seed)
  )
  split = demos_lib.split_episodes(frames.episode, HELD_OUT, config.seed)
  fit, test = split
  tokens, mask = embed_frames(vla, frames)
  token_config = TokenConfig(
    token_dim=tokens.shape[2],
    num_image_tokens=tokens.shape[1],
    steps=config.steps,
    warmup_steps=min(100, config.steps // 10),
    alpha=config.alpha,
  )
  joint = config.alpha > 0.0
  train_key, shuffle_key = jax.random.split(jax.random.key(config.seed))
  start = time.perf_counter()
  trained = train.train_token(
    train_key,
    demos_lib.take(frames, fit) if joint else tokens[fit],
    token_config,
    mask=mask[fit],
    vla=vla.training_hooks(tokens.shape[1]) if joint else None,
    log=log,
  )
  minutes = (time.perf_counter() - start) / 60.0
  if joint:
    vla = vla.with_params(trained.vla_params)
    tokens, mask = embed_frames(vla, frames)
  token = rl_token.make(trained.params, token_config, vla.spec.fingerprint)
  metrics = diagnostics.diagnose(
    token.params, tokens[test], token_config, shuffle_key, mask=mask[test]
  )
  metrics |= probe_motion(token, tokens, mask, frames, split)
  return Stage1Result(
    token=token,
    vla=vla,
    metrics=metrics,
    episodes=len(np.unique(frames.episode)),
    frames=len(frames.proprio),
    minutes=minutes,
  )
