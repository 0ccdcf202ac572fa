"""Fine-tunes the action expert of the small VLA on demonstrations."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.demo_files import TaskFacts
from rlt_jax.demonstrations import stores, writer
from rlt_jax.demonstrations.record import Demo
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.sitting import Sitting
from rlt_jax.tasks.task import Task
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import task_mix, training_log, training_record
from rlt_jax.vlas.pi_small import fitting, validate
from rlt_jax.vlas.pi_small.objective import LossConfig
from rlt_jax.vlas.pi_small.pi_vla import PiVla
from rlt_jax.vlas.pi_small.train import TrainConfig
from rlt_jax.vlas.task_mix import TaskMix

SHARD = 'shard_000.npz'
DEMONSTRATIONS, COLLECTED = 'demonstrations', 'collected'
_ROWS = 256  # held out, of each set; as `fitting` measures them


class Tuned(NamedTuple):
  """A fine-tuned VLA.

  held_out: set -> flow loss of its held-out frames, 'before' and 'after'.
  metrics: of the training, JSON types. value: of a method that has one.
  """

  vla: PiVla
  held_out: dict[str, dict[str, float]]
  metrics: dict[str, float]
  value: dict[str, float] | None = None


def write(
  folder: pathlib.Path,
  demos: Sequence[Demo],
  task: Task,
  space: ActionSpace,
  *,
  horizon: int,
  more: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes stretches as a shard that `demos.load` reads.

  What would follow the end of a stretch is marked as not valid.

  Args:
    folder: made here.
    demos: at least one.
    task: with a tip.
    space: of the VLA's actions.
    horizon: H.
    more: columns [F, ...] beside those of demonstrations.
  """
  spec = task.spec
  folder.mkdir(parents=True)
  columns = writer.to_columns(
    demos,
    space,
    first=0,
    horizon=horizon,
    control_hz=spec.control_hz,
    remaining_motion=stores.remaining_motion(task),
  )
  writer.save_shard(
    folder / SHARD,
    columns | dict(more or {}),
    space,
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
    task=TaskFacts(**{x: getattr(spec, x) for x in TaskFacts._fields}),
  )


def loss_config(config: FinetuneConfig) -> LossConfig:
  """Returns a loss in which steps past the end of a stretch do not count.

  A stretch ends where the person handed back: to hold still there was nobody's
  wish.
  """
  return LossConfig(draws=config.draws, hold_weight=0.0)


def train_config(config: FinetuneConfig, seed: int) -> TrainConfig:
  """Returns the settings of one round's training."""
  return TrainConfig(
    steps=config.steps,
    batch_size=config.batch_size,
    learning_rate=config.learning_rate,
    warmup_steps=config.warmup_steps,
    held_out=config.held_out,
    part='expert',
    seed=seed,
  )


def read(
  paths: Mapping[str, pathlib.Path], demo_share: float, vla: PiVla
) -> TaskMix:
  """Reads both sets as the VLA sees them, in the unit of its actions.

  Args:
    paths: DEMONSTRATIONS and COLLECTED -> their folder.
    demo_share: share of the demonstrations in a batch.
    vla: whose cameras, words and state are read.

  Raises:
    ValueError: see `demos.load`.
  """
  shares = {DEMONSTRATIONS: demo_share, COLLECTED: 1.0 - demo_share}
  return task_mix.load(
    list(paths.values()),
    [shares[name] for name in paths],
    vla.config.cameras,
    vla.tokenize,
    lambda text: None,
    vla.spec.action_scale,
    joints=vla.config.state == 'joints',
    labels=list(paths),
  )


def measure(
  vla: PiVla, mix: TaskMix, train: TrainConfig, loss: LossConfig
) -> dict[str, float]:
  """Returns set -> flow loss of its held-out frames.

  Frames, noise and times are those that `fitting.fit` measures with.
  """
  found = {}
  for name, rows in zip(mix.names(), mix.rows, strict=True):
    _, held_out = demos_lib.split_episodes(
      mix.demos.frames.episode[rows], train.held_out, train.seed
    )
    figures = validate.evaluate(
      vla.params,
      mix.demos,
      rows[held_out],
      config=vla.config,
      loss=loss,
      max_rows=_ROWS,
    )
    found[name] = figures['flow_loss']
  return found


def tune(
  vla: PiVla,
  mix: TaskMix,
  config: FinetuneConfig,
  *,
  seed: int,
  sitting: Sitting,
  folder: pathlib.Path,
  before: TaskMix | None = None,
) -> Tuned:
  """Trains the action expert on both sets.

  Args:
    vla: to start from.
    mix: of `read`.
    config: settings.
    seed: of the split, the order and the noise.
    sitting: keeps states, so that an interrupted training goes on.
    folder: gets metrics.jsonl.
    before: the same frames as the first weights know them, which are measured
      on them; None is `mix`.

  Raises:
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  train, loss = train_config(config, seed), loss_config(config)
  first = measure(vla, mix if before is None else before, train, loss)
  sitting.say(training_record.describe('the expert', train, mix.demos))
  params, metrics = fitting.fit(
    mix.demos,
    config=vla.config,
    train=train,
    loss=loss,
    log=training_log.TrainingLog(folder, sitting).add,
    save=lambda params, metrics: None,  # the sitting has the state
    start=vla.params,
    sitting=sitting,
    settings=_settings(vla, mix, train, loss),
    mix=mix,
  )
  held_out = {
    name: {'before': first[name], 'after': metrics[f'{name}/flow_loss']}
    for name in first
  }
  return Tuned(vla.with_params(params), held_out, metrics)


def _settings(
  vla: PiVla, mix: TaskMix, train: TrainConfig, loss: LossConfig
) -> dict[str, Any]:
  return training_record.lasting_settings(
    train,
    mix.demos,
    vla=vla.spec.fingerprint,
    loss=dataclasses.asdict(loss),
    share=mix.share,
  )
