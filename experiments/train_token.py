"""Trains the RL token of a VLA on demonstrations of one task.

  python -m experiments.train_token --demos=data/demos \
      --vla=runs/vla/ethernet --out=runs/token/ethernet

Takes the instruction most demonstrations share: with one instruction language
embeddings are constant, and the token reads image embeddings only. The folder
holds token.safetensors, token.json and MODEL_CARD.md; with --alpha above 0 the
VLA is fine-tuned along and lands in vla/ inside, for it is another VLA then.
Expected: about 5 minutes for 2,000 steps on 2 cores with alpha 0.
"""

import json
import pathlib
import shlex
import sys
import time

from absl import app, flags
import jax
import numpy as np

from rlt_jax.rl_token import diagnostics, rl_token, train
from rlt_jax.rl_token.config import count_image_tokens, TokenConfig
from rlt_jax.rl_token.objective import VlaHooks
from rlt_jax.types import Observation

_DEMOS = flags.DEFINE_string('demos', 'data/demos', '.npz file, or folder.')
_VLA = flags.DEFINE_string('vla', None, 'Folder of the VLA.', required=True)
_OUT = flags.DEFINE_string('out', None, 'New folder.', required=True)
_EPISODES = flags.DEFINE_integer('episodes', 60, 'Demonstrations, at most.')
_STEPS = flags.DEFINE_integer('steps', 2_000, 'Gradient steps.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of episodes, split, weights, order.')
_ALPHA = flags.DEFINE_float('alpha', 0.0, "Weight of the VLA's own loss.")

_BATCH = 64  # frames per VLA query
_HELD_OUT = 0.1  # of the demonstrations, for the diagnostics
_CARD = """# RL token of the {task} task

Compresses the {tokens} image embeddings of a frozen VLA into one vector of
{z_dim} numbers, for an actor and a critic to read.

- Command: `{command}`
- Seed: {seed}
- VLA fingerprint: `{vla}` (no other VLA loads this token)
- Data: {episodes} demonstrations, {frames} frames; {held_out} demonstrations
  held out for the numbers below
- Time: {minutes:.1f} minutes, {steps} steps of {batch} frames
- Loss: squared error of autoregressive reconstruction with stop-gradient
  teacher tokens, on standardised embeddings (each position centred, each entry
  divided by its deviation); {dropout:.0%} of the teacher tokens hidden in
  {hidden:.0%} of the rows, so that the decoder cannot copy its context
- alpha: {alpha} (weight of the VLA's own loss; 0 leaves the VLA alone)

`fve_*` is the fraction of variance explained, 0 for predicting each position's
mean. `shuffled` reads another frame's token, `zero` reads zeros, `no_context`
hides all teacher tokens. `probe_*` is ridge regression from the token, from
the mean image embedding, or from joint positions to the way left to the end of
the demonstration: r2 pooled over axes, rmse an axis, `tip` in m, `turn` in rad.

| metric | value |
|---|---|
{rows}
"""


def choose_frames(frames, count: int, seed: int) -> np.ndarray:
  """Returns rows of up to `count` episodes of the most common instruction."""
  first = np.unique(frames.episode, return_index=True)[1]
  prompts, kind, sizes = np.unique(
    frames.prompt[first], axis=0, return_inverse=True, return_counts=True
  )
  is_task = kind.ravel() == np.argmax(sizes)
  episodes = frames.episode[first][is_task]
  chosen = np.random.default_rng(seed).permutation(episodes)[:count]
  return np.flatnonzero(np.isin(frames.episode, chosen))


def embed(vla, frames, cameras) -> tuple[np.ndarray, np.ndarray]:
  """Returns image tokens float32 [F, N, D] and their mask bool [F, N]."""
  key = jax.random.key(0)  # Only the reference chunk, left out, depends on it.

  @jax.jit
  def run(params, observation):
    out = vla.apply(params, observation, key)
    return out.tokens, out.mask, out.image_mask

  tokens, masks, total = [], [], len(frames.proprio)
  for start in range(0, total, _BATCH):
    rows = np.arange(start, start + _BATCH) % total
    observation = Observation(
      {name: frames.images[name][rows] for name in cameras},
      frames.proprio[rows],
      frames.prompt[rows],
    )
    token, mask, image_mask = run(vla.params, observation)
    count = count_image_tokens(image_mask)
    tokens.append(np.asarray(token[:, :count], np.float32))
    masks.append(np.asarray(mask[:, :count]))
  return np.concatenate(tokens)[:total], np.concatenate(masks)[:total]


def joint_hooks(vla, num_image_tokens: int) -> VlaHooks:
  """Returns what joint training needs of a `PiVla`."""
  from rlt_jax.vlas.pi_small import model, objective

  loss_config = objective.LossConfig()

  def tokens(params, batch):
    observation = Observation(batch.images, batch.proprio, batch.prompt)
    out = model.prefix(params, observation, config=vla.config)
    return out.tokens[:, :num_image_tokens]

  def loss(params, batch, key):
    image_key, loss_key = jax.random.split(key)
    images = objective.augment(batch.images, image_key, config=loss_config)
    return objective.loss(
      params,
      batch._replace(images=images),
      loss_key,
      config=vla.config,
      train=loss_config,
    )[0]

  return VlaHooks(vla.params, tokens, loss)


def probe(token, tokens, mask, frames, split) -> dict[str, float]:
  """Scores how well features tell the way left to the demonstration's end."""
  joints = frames.proprio[:, : frames.proprio.shape[1] // 2]
  z_rl = train.encode_all(token.params, tokens, mask, token.config)
  seen = mask[..., None]
  mean_token = (tokens * seen).sum(1) / np.maximum(seen.sum(1), 1)
  features = {'z_rl': z_rl, 'mean_token': mean_token, 'joints': joints}
  (fit, test), results = split, {}
  for part, entries in (('tip', slice(0, 3)), ('turn', slice(3, 6))):
    target = frames.way[:, entries]
    spread = np.square(target[test] - target[test].mean(0)).mean(0).sum()
    for name, x in features.items():
      out = diagnostics.linear_probe(x[fit], target[fit], x[test], target[test])
      error = np.square(out['rmse'])
      results[f'probe_r2_{part}_{name}'] = float(1.0 - error.sum() / spread)
      results[f'probe_rmse_{part}_{name}'] = float(np.sqrt(error.mean()))
    results[f'probe_rmse_{part}_constant'] = float(np.sqrt(spread / len(error)))
  return results


def write_vla(vla, params):
  """Saves a `PiVla` with new params under the token's folder; returns it."""
  from rlt_jax.vlas.pi_small import pi_vla

  vla = pi_vla.make(
    params,
    vla.config,
    action_mode=vla.spec.action_mode,
    action_scale=vla.spec.action_scale,
  )
  pi_vla.save(
    pathlib.Path(_OUT.value) / 'vla',
    vla,
    metrics={},
    command=_command(),
    seed=_SEED.value,
  )
  return vla


def write(token, metrics, frames, minutes: float) -> None:
  """Saves the token and its model card."""
  out, config = pathlib.Path(_OUT.value), token.config
  command = _command()
  rl_token.save(out, token, metrics=metrics, command=command, seed=_SEED.value)
  episodes = len(np.unique(frames.episode))
  card = _CARD.format(
    task=out.name,
    tokens=config.num_image_tokens,
    z_dim=config.z_dim,
    command=shlex.join(command),
    seed=_SEED.value,
    vla=token.spec.vla_fingerprint,
    episodes=episodes,
    frames=len(frames.proprio),
    held_out=max(1, round(_HELD_OUT * episodes)),
    minutes=minutes,
    steps=config.steps,
    batch=config.batch_size,
    dropout=config.context_dropout,
    hidden=1.0 - config.full_context_share,
    alpha=config.alpha,
    rows='\n'.join(f'| {k} | {v:.4g} |' for k, v in metrics.items()),
  )
  (out / 'MODEL_CARD.md').write_text(card)


def _command():
  return ['python', '-m', 'experiments.train_token', *sys.argv[1:]]


def main(argv: list[str]) -> None:
  """Trains by the flags."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}.')
  # Here and not above: the rest of this file serves any VLA.
  from rlt_jax.vlas.pi_small import dataset, pi_vla

  out = pathlib.Path(_OUT.value)
  if (out / 'token.json').exists():
    raise app.UsageError(f'--out must not hold a token yet: {out}.')
  vla = pi_vla.load(_VLA.value)
  frames = dataset.load(_DEMOS.value, vla.spec.cameras).frames
  rows = choose_frames(frames, _EPISODES.value, _SEED.value)
  frames = dataset.take(frames, rows)
  split = dataset.split_episodes(frames.episode, _HELD_OUT, _SEED.value)
  fit, test = split
  tokens, mask = embed(vla, frames, vla.spec.cameras)
  config = TokenConfig(
    token_dim=tokens.shape[2],
    num_image_tokens=tokens.shape[1],
    steps=_STEPS.value,
    warmup_steps=min(100, _STEPS.value // 10),
    alpha=_ALPHA.value,
  )
  train_key, shuffle_key = jax.random.split(jax.random.key(_SEED.value))
  start = time.perf_counter()
  trained = train.train_token(
    train_key,
    dataset.take(frames, fit) if config.alpha > 0.0 else tokens[fit],
    config,
    mask=mask[fit],
    vla=joint_hooks(vla, tokens.shape[1]) if config.alpha > 0.0 else None,
    log=lambda row: print(json.dumps(row), flush=True),
  )
  minutes = (time.perf_counter() - start) / 60.0
  if config.alpha > 0.0:
    vla = write_vla(vla, trained.vla_params)
    tokens, mask = embed(vla, frames, vla.spec.cameras)
  token = rl_token.make(trained.params, config, vla.spec.fingerprint)
  metrics = diagnostics.diagnose(
    token.params, tokens[test], config, shuffle_key, mask=mask[test]
  )
  metrics |= probe(token, tokens, mask, frames, split)
  write(token, metrics, frames, minutes)
  print('\n'.join(f'{k:28s} {v:10.4f}' for k, v in metrics.items()))


if __name__ == '__main__':
  app.run(main)
