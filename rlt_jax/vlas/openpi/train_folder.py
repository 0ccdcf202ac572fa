"""Writes the folder of a training: a checkpoint as openpi does, a record."""

from collections.abc import Callable, Sequence
import dataclasses
import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax import files
from rlt_jax import sitting as sitting_lib
from rlt_jax.sitting import Sitting
from rlt_jax.types import Params
from rlt_jax.vlas import demo_source, training_log, training_record
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demo_source import DemoSource
from rlt_jax.vlas.demos import Demos
from rlt_jax.vlas.openpi import checkpoint as checkpoint_lib
from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi import (
  lessons,
  openpi_vla,
  prompt,
  step_folder,
  tokenizer,
  train,
)
from rlt_jax.vlas.openpi import statistics as statistics_lib
from rlt_jax.vlas.openpi.config import OpenpiConfig
from rlt_jax.vlas.openpi.openpi_vla import OpenpiVla
from rlt_jax.vlas.openpi.train import TrainConfig

CONFIG = 'config.json'
_CARD = """# {family}

A {family} of {parameters:.2f} M parameters, trained by its flow on
demonstrations.

- Command: `{command}`
- Started from: {start}
- Seed: {seed}
- Instructions: {instructions}
- Data: {episodes} demonstrations, {frames} frames; {share:.0%} of the
  demonstrations (at least one) held out for validation
- Time: {minutes:.1f} minutes, {step} steps of {batch} frames, {draws} draws of
  noise and time each
- Use: `--vla=openpi:{config}:{weights}`

Validation, on frames of held-out demonstrations (`chunk_*` over all joints, in
rad, grippers in m; `still_*` is the error of predicting no motion):

| metric | value |
|---|---|
{rows}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainFolder:
  """A training that writes into one folder.

  folder: new or empty. config: name or JSON file of the configuration. start:
  a checkpoint to continue, or '' for random weights. command: the command line,
  for the record.
  """

  folder: pathlib.Path
  config: str
  start: str
  train: TrainConfig
  command: Sequence[str]

  def run(
    self,
    open_source: Callable[..., DemoSource],
    sitting: Sitting | None = None,
  ) -> pathlib.Path:
    """Trains on demonstrations; writes on the way and at the end.

    Args:
      open_source: (`Needs`, tokenize, say) -> the demonstrations.
      sitting: keeps states and prints; None does neither.

    Returns:
      The checkpoint's folder.

    Raises:
      ValueError: a folder in use, weights or demonstrations that do not fit.
      FloatingPointError: the training diverged.
      KeyboardInterrupt: a signal asked for the end; the state is saved.
    """
    sitting = sitting or Sitting()
    if not sitting.resumed:
      sitting_lib.check_new(self.folder)
    text = config_lib.read_text(self.config)
    config = config_lib.parse(text, self.config)
    if self.start:  # before the demonstrations, which take a while to read
      self._check_start(config)
    texts: list[str] = []

    def number(text: str) -> np.ndarray:
      texts.append(text)
      return np.array([len(texts) - 1], np.int32)

    source = open_source(_needs(config), number, sitting.say, reads_joints=True)
    demos = demo_source.load_all(source)
    words = self._open_tokenizer(config, texts)
    prompter = openpi_vla.make_prompter(config, words.encode)
    prompts = np.stack([prompter.tokenize(text) for text in texts])
    demos = dataclasses.replace(
      demos,
      frames=demos.frames._replace(prompt=prompts[demos.frames.prompt[:, 0]]),
    )
    demos = lessons.fit_horizon(demos, config)
    config = _with_scale(config, demos)
    statistics = self._choose_statistics(config, demos, sitting.say)
    vla = openpi_vla.make(
      config, checkpoint_lib.Weights({}, ''), statistics, prompter, words.digest
    )
    table = json.loads(text) | {'action_scale': list(config.action_scale)}
    table.pop('tokenizer', None)  # it lies in the checkpoint
    log = training_log.TrainingLog(self.folder, sitting).add
    writer = _Writer(self, vla, demos, log, table, statistics, words.content)
    sitting.say(training_record.describe(self.config, self.train, demos))
    params, metrics = train.fit(
      demos,
      vla=vla,
      train=self.train,
      log=log,
      save=training_record.save_on_the_way(writer.save, sitting),
      start=None if sitting.resumed else self._read_start(config),
      sitting=sitting,
      settings=training_record.lasting_settings(
        self.train,
        demos,
        # Of configuration, statistics and tokenizer; it has no weights.
        vla=vla.spec.fingerprint,
      ),
    )
    return writer.save(params, metrics)

  def _check_start(self, config: OpenpiConfig) -> None:
    folder = checkpoint_lib.find(self.start)
    found = checkpoint_lib.list_arrays(folder)
    checkpoint_lib.check(found, config.model, folder)

  def _read_start(self, config: OpenpiConfig) -> Params | None:
    """Returns the weights to start from, as float32."""
    if not self.start:
      return None
    model = dataclasses.replace(config.model, dtype='float32')
    return checkpoint_lib.read(self.start, model).params

  def _open_tokenizer(
    self, config: OpenpiConfig, texts: Sequence[str]
  ) -> '_Words':
    """Returns the tokenizer: the one given, the start's, or a new one."""
    if self.start or config.tokenizer:
      file = prompt.find_tokenizer(config.tokenizer, pathlib.Path(self.start))
      encode, content = prompt.open_tokenizer(file, config.model.vocabulary)
    else:
      content = tokenizer.make(texts)
      encode = prompt.read_tokenizer(
        content, config.model.vocabulary, 'the demonstrations'
      )
    return _Words(encode, content, hashlib.sha256(content).digest())

  def _choose_statistics(
    self, config: OpenpiConfig, demos: Demos, say: Callable[[str], None]
  ) -> statistics_lib.Statistics:
    """Returns the start's statistics of this robot, or the demonstrations'."""
    rows, _ = demos_lib.split_episodes(
      demos.frames.episode, self.train.held_out, self.train.seed
    )
    found = lessons.measure(demos, rows, config)
    if not self.start:
      return found
    assets = pathlib.Path(self.start) / 'assets'
    if (assets / config.asset_id).is_dir():
      say(f'Statistics: those of {assets / config.asset_id}.')
      found = statistics_lib.read(
        statistics_lib.find(self.start, config.asset_id),
        len(config.joints),
        quantiles=config.model.is_pi05,
      )
    else:
      there = sorted(x.name for x in assets.glob('*'))
      say(
        f'Statistics: those of the demonstrations, as {assets} has no '
        f'{config.asset_id!r}, only {there}.'
      )
    return found


class Needs(NamedTuple):
  """What the demonstrations must have; the fields are those of `VlaSpec`.

  action_scale: None if it is to be measured.
  """

  cameras: tuple[str, ...]
  image_size: int
  proprio_dim: int
  horizon: int
  action_dim: int
  joint_names: tuple[str, ...]
  control_hz: float
  action_mode: str
  action_scale: tuple[float, ...] | None


def _needs(config: OpenpiConfig) -> Needs:
  A = len(config.joint_order)
  return Needs(
    cameras=tuple(config.cameras.values()),
    image_size=config.image_size,
    proprio_dim=2 * A,
    horizon=config.horizon,
    action_dim=A,
    joint_names=tuple(config.joint_order),
    control_hz=float(config.control_hz),
    action_mode='offset',
    action_scale=config.action_scale or None,
  )


@dataclasses.dataclass(frozen=True)
class _Words:
  """A tokenizer: its function, its file's content, and that one's digest."""

  encode: Callable[[str], list[int]]
  content: bytes
  digest: bytes


@dataclasses.dataclass(frozen=True)
class _Writer:
  """Writes the files of a training's folder."""

  training: TrainFolder
  vla: OpenpiVla
  demos: Demos
  log: Callable[[dict[str, float]], None]
  table: dict[str, Any]
  statistics: statistics_lib.Statistics
  tokenizer: bytes

  def save(self, params: Params, metrics: dict[str, Any]) -> pathlib.Path:
    """Writes a checkpoint beside its record, in place of an earlier one.

    Raises:
      OSError: it could not be written; the earlier one stays.
    """
    folder, step = self.training.folder, metrics['step']
    folder.mkdir(parents=True, exist_ok=True)
    self.log(metrics)
    target = folder / str(step)
    with step_folder.replace(folder, step) as part:
      checkpoint_lib.write(part, params)
      statistics_lib.write(
        part / 'assets' / self.vla.config.asset_id / 'norm_stats.json',
        self.statistics,
      )
      (part / prompt.FILE).write_bytes(self.tokenizer)
    text = json.dumps(self.table, indent=2) + '\n'
    files.write_atomically(folder / CONFIG, text)
    card = self._card(params, metrics, target)
    files.write_atomically(folder / 'MODEL_CARD.md', card)
    for path in folder.iterdir():
      if path.is_dir() and path.name.isdigit() and path != target:
        step_folder.remove(path)
    return target

  def _card(self, params, metrics, weights) -> str:
    training = self.training
    facts = training_record.card_facts(
      training.train,
      self.demos,
      metrics,
      command=training.command,
      start=training.start,
    )
    return _CARD.format(
      family=self.vla.config.model.family,
      parameters=sum(x.size for x in jax.tree.leaves(params)) / 1e6,
      draws=training.train.draws,
      config=training.folder / CONFIG,
      weights=weights,
      **facts,
    )


def _with_scale(config: OpenpiConfig, demos: Demos) -> OpenpiConfig:
  """Returns a configuration with the demonstrations' unit, if it has none."""
  if config.action_scale:
    return config
  return dataclasses.replace(config, action_scale=tuple(demos.action_scale))
