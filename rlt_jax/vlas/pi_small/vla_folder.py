"""Writes the folder of a training: weights, record, metrics, model card."""

from collections.abc import Callable, Sequence
import dataclasses
import json
import pathlib
import shlex
from typing import Any

import jax
import numpy as np

from rlt_jax.types import Params
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demos import Demos
from rlt_jax.vlas.pi_small import pi_vla, train
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig
from rlt_jax.vlas.pi_small.train import TrainConfig

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class VlaFolder:
  """A training that writes into one folder.

  folder: new or empty. start: folder of a trained VLA to continue, or ''.
  command: the command line, for the record.
  """

  folder: pathlib.Path
  start: str
  train: TrainConfig
  loss: LossConfig
  command: Sequence[str]

  def run(
    self,
    demos_path: str,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
  ) -> pi_vla.PiVla:
    """Trains on demonstrations; writes on the way and at the end.

    Args:
      demos_path: .npz file or folder, see `demos.load`.
      report: called with every logged step's metrics and every validation.

    Raises:
      ValueError: a folder in use, weights or demonstrations that do not fit.
    """
    if self.folder.exists() and any(self.folder.iterdir()):
      raise ValueError(
        f'The folder must be a new or an empty one: {self.folder}.'
      )
    start = pi_vla.open_vla(self.start) if self.start else None
    config = start.config if start else PiConfig()
    # Before the demonstrations, which take a while to read.
    train.check_start(self.train, start)
    outcomes = demos_lib.load_outcomes(demos_path)
    demos = demos_lib.load(demos_path, config.cameras, config.tokenize)
    self.folder.mkdir(parents=True, exist_ok=True)
    if outcomes is not None:  # for the reports of practice with this VLA
      file = self.folder / demos_lib.OUTCOMES_FILE
      file.write_text(json.dumps(outcomes) + '\n')

    def log(metrics: dict[str, float]) -> None:
      with (self.folder / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps(metrics) + '\n')
      report(metrics)

    def save(params: Params, metrics: dict[str, Any]) -> pi_vla.PiVla:
      log(metrics)
      return self._write(params, metrics, demos, config)

    params, metrics = train.fit(
      demos,
      config=config,
      train=self.train,
      loss=self.loss,
      log=log,
      save=save,
      start=start.params if start else None,
    )
    return save(params, metrics)

  def _write(
    self,
    params: Params,
    metrics: dict[str, Any],
    demos: Demos,
    config: PiConfig,
  ) -> pi_vla.PiVla:
    vla = pi_vla.make(params, config, **demos.action_facts())
    vla.save(
      self.folder,
      metrics=metrics,
      command=self.command,
      seed=self.train.seed,
    )
    count = sum(
      x.size
      for name in ('prefix', 'expert', 'readout')
      for x in jax.tree.leaves(params[name])
    )
    card = _CARD.format(
      task=self.folder.name,
      parameters=count / 1e6,
      command=shlex.join(self.command),
      seed=self.train.seed,
      start=self.start or 'scratch',
      episodes=len(np.unique(demos.frames.episode)),
      frames=len(demos),
      share=self.train.held_out,
      minutes=metrics['train_s'] / 60.0,
      step=metrics['step'],
      batch=self.train.batch_size,
      cameras=', '.join(config.cameras),
      size=config.image_size,
      proprio=config.proprio_dim,
      prompt=config.prompt_length,
      horizon=config.horizon,
      action=config.action_dim,
      mode=demos.action_mode,
      prefix_weight=self.loss.prefix_weight,
      part=self.train.part,
      rows='\n'.join(f'| {k} | {v:.5g} |' for k, v in sorted(metrics.items())),
    )
    (self.folder / 'MODEL_CARD.md').write_text(card)
    return vla
