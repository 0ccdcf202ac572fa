"""Trains the small VLA on demonstrations and writes a folder to ship.

  python -m experiments.train_vla --demos=data/demos --out=runs/vla \
      --minutes=45

`--part=prefix` trains what sees alone, by its readout, from `--start` or
afresh, and `--part=expert` what acts on `--start`'s prefix, which stays as it
is. The folder holds vla.safetensors, vla.json, metrics.jsonl and MODEL_CARD.md,
written every few minutes and at the end.
"""

import json
import pathlib
import shlex
import sys

from absl import app, flags
import jax
import numpy as np

from rlt_jax.vlas.pi_small import dataset, pi_vla, train
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig

_DEMOS = flags.DEFINE_string('demos', 'data/demos', '.npz file, or folder.')
_OUT = flags.DEFINE_string('out', None, 'Folder to write.', required=True)
_START = flags.DEFINE_string('start', '', 'Trained VLA to go on from.')
_STEPS = flags.DEFINE_integer('steps', 6_000, 'Steps, at most.')
_MINUTES = flags.DEFINE_float('minutes', None, 'Wall clock, at most.')
_BATCH = flags.DEFINE_integer('batch', 64, 'Frames per step.')
_DRAWS = flags.DEFINE_integer('draws', 2, '(noise, time) draws per frame.')
_PART = flags.DEFINE_enum('part', 'all', list(train.PARTS), 'What learns.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of weights, split, order, noise.')

_CARD = """# VLA of the {task} task

A flow-matching transformer of {parameters:.1f} M parameters, trained from
pixels on demonstrations in simulation.

- Command: `{command}`
- Started from: {start}
- Seed: {seed}
- Data: {episodes} demonstrations, {frames} frames; {share:.0%} of the
  demonstrations (at least one) held out for validation
- Time: {minutes:.1f} minutes, {step} steps of {batch} frames
- Inputs: cameras {cameras} at {size} px, {proprio} proprioception entries,
  {prompt} prompt tokens
- Output: {horizon} steps of {action} entries, action mode `{mode}`
- Tokens: the normed output of the last prefix layer, image tokens first. The
  flow loss does not reach that layer's output; a readout that regresses how
  the tip has yet to move and turn until the demonstration's end trains it
  (weight {prefix_weight}; this training: {part}).

Validation, on frames of held-out demonstrations (an axis; `chunk_*` in rad,
grippers in m, `*_tip_*` in m, `*_turn_*` in rad; `near_*` within 15 mm of the
end; `still_*` is the error of predicting no motion):

| metric | value |
|---|---|
{rows}
"""


def _write(params, metrics, demos, config, train_config, loss):
  out = pathlib.Path(_OUT.value)
  vla = pi_vla.make(
    params,
    config,
    **demos.action_facts(),
  )
  command = ['python', '-m', 'experiments.train_vla', *sys.argv[1:]]
  pi_vla.save(
    out, vla, metrics=metrics, command=command, seed=train_config.seed
  )
  count = sum(
    x.size
    for name in ('prefix', 'expert', 'readout')
    for x in jax.tree.leaves(params[name])
  )
  card = _CARD.format(
    task=out.name,
    parameters=count / 1e6,
    command=shlex.join(command),
    seed=train_config.seed,
    start=_START.value or 'scratch',
    episodes=len(np.unique(demos.frames.episode)),
    frames=len(demos),
    share=train_config.held_out,
    minutes=metrics['train_s'] / 60.0,
    step=metrics['step'],
    batch=train_config.batch_size,
    cameras=', '.join(config.cameras),
    size=config.image_size,
    proprio=config.proprio_dim,
    prompt=config.prompt_length,
    horizon=config.horizon,
    action=config.action_dim,
    mode=demos.action_mode,
    prefix_weight=loss.prefix_weight,
    part=train_config.part,
    rows='\n'.join(f'| {k} | {v:.5g} |' for k, v in sorted(metrics.items())),
  )
  (out / 'MODEL_CARD.md').write_text(card)


def main(argv: list[str]) -> None:
  """Trains by the flags."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}.')
  try:
    _train(pathlib.Path(_OUT.value))
  except ValueError as error:
    # A wrong setting is the user's to mend: the sentence says it all.
    raise SystemExit(f'error: {error}') from None


def _train(out: pathlib.Path) -> None:
  if out.exists() and any(out.iterdir()):
    raise ValueError(f'--out must be a new folder or an empty one: {out}.')
  start = pi_vla.load(_START.value) if _START.value else None
  config = start.config if start else PiConfig()
  train_config = train.TrainConfig(
    steps=_STEPS.value,
    minutes=_MINUTES.value,
    batch_size=_BATCH.value,
    part=_PART.value,
    seed=_SEED.value,
  )
  # Before the demonstrations, which take a while to read.
  train.check_start(train_config, start)
  loss = LossConfig(draws=_DRAWS.value)
  demos = dataset.load(_DEMOS.value, config.cameras)
  out.mkdir(parents=True, exist_ok=True)
  lines = out / 'metrics.jsonl'

  def log(metrics):
    with lines.open('a') as file:
      file.write(json.dumps(metrics) + '\n')
    print(' '.join(f'{k} {v:.4g}' for k, v in metrics.items()), flush=True)

  def save(params, metrics):
    log(metrics)
    _write(params, metrics, demos, config, train_config, loss)

  save(
    *train.fit(
      demos,
      config=config,
      train=train_config,
      loss=loss,
      log=log,
      save=save,
      start=start.params if start else None,
    )
  )


if __name__ == '__main__':
  app.run(main)
