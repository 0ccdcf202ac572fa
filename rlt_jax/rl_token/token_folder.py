"""Writes the folder of a trained token: weights, record, model card."""

from collections.abc import Sequence
import pathlib
import shlex

from rlt_jax import files
from rlt_jax.rl_token import rl_token
from rlt_jax.rl_token.stage1 import Stage1Result
from rlt_jax.vlas.vla import TrainableVla

_CARD = """# RL token

Compresses the {tokens} image embeddings of a frozen VLA into one vector of
{z_dim} numbers, for an actor and a critic to read.

- Command: `{command}`
- Seed: {seed}
- VLA fingerprint: `{vla}` (no other VLA loads this token)
- Data: {episodes} demonstrations, {frames} frames; {held_out} demonstrations
  held out for the numbers below
- Time: {minutes:.1f} minutes, {steps} steps of {batch} frames
- Loss: squared error of autoregressive reconstruction with stop-gradient
  teacher tokens, on standardized embeddings (each position centered, each entry
  divided by its deviation); {dropout:.0%} of the teacher tokens hidden in
  {hidden:.0%} of the rows, so that the decoder cannot copy its context
- alpha: {alpha} (weight of the VLA's own loss; 0 leaves the VLA alone)

`fve_*` is the fraction of variance explained, 0 for predicting each position's
mean. `shuffled` reads another frame's token, `zero` reads zeros, `no_context`
hides all teacher tokens. `probe_*` is ridge regression from the token, from
the mean image embedding, or from joint positions to the remaining motion until
the end of the demonstration: r2 pooled over axes, rmse an axis, `tip` in m,
`turn` in rad.

| metric | value |
|---|---|
{rows}
"""


def check_new(folder: str | pathlib.Path) -> None:
  """Raises a ValueError for a folder that already holds a token."""
  if (pathlib.Path(folder) / 'token.json').exists():
    raise ValueError(f'The folder must not hold a token yet: {folder}.')


def write(
  folder: str | pathlib.Path,
  result: Stage1Result,
  *,
  command: Sequence[str],
  seed: int,
) -> None:
  """Writes token.safetensors, token.json and MODEL_CARD.md.

  A VLA that was trained with the token is written to vla/ inside the folder.

  Args:
    folder: created if missing.
    result: of `stage1.run`.
    command: the command line that trained it.
    seed: of the training.
  """
  folder, token = pathlib.Path(folder), result.token
  config = token.config
  if config.alpha > 0.0 and isinstance(result.vla, TrainableVla):
    result.vla.save(folder / 'vla', metrics={}, command=command, seed=seed)
  card = _CARD.format(
    tokens=config.num_image_tokens,
    z_dim=config.z_dim,
    command=shlex.join(command),
    seed=seed,
    vla=token.spec.vla_fingerprint,
    episodes=result.episodes,
    frames=result.frames,
    held_out=result.held_out,
    minutes=result.minutes,
    steps=config.steps,
    batch=config.batch_size,
    dropout=config.context_dropout,
    hidden=1.0 - config.full_context_share,
    alpha=config.alpha,
    rows='\n'.join(f'| {k} | {v:.4g} |' for k, v in result.metrics.items()),
  )
  folder.mkdir(parents=True, exist_ok=True)
  files.write_atomically(folder / 'MODEL_CARD.md', card)
  rl_token.save(
    folder, token, metrics=result.metrics, command=command, seed=seed
  )
