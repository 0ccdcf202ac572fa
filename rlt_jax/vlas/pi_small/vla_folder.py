"""Writes the folder of a training: weights, record, metrics, model card."""

from collections.abc import Callable, Sequence
import dataclasses
import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax import demo_files, files
from rlt_jax import sitting as sitting_lib
from rlt_jax.sitting import Sitting
from rlt_jax.types import Params
from rlt_jax.vlas import demo_source, task_mix, training_log, training_record
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.demo_source import DemoSource
from rlt_jax.vlas.demos import Demos
from rlt_jax.vlas.known_tasks import KnownTask, Measured, of_facts
from rlt_jax.vlas.pi_small import fitting, pi_vla, several_tasks, train
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig
from rlt_jax.vlas.pi_small.train import TrainConfig
from rlt_jax.vlas.task_mix import TaskMix
from rlt_jax.vlas.vla import VlaSpec

_CARD = """# VLA

A flow-matching transformer of {parameters:.1f} M parameters, trained from
pixels on demonstrations in simulation.

- Command: `{command}`
- Started from: {start}
- Seed: {seed}
- Instructions: {instructions}
- Data: {episodes} demonstrations, {frames} frames; {share:.0%} of the
  demonstrations (at least one) held out for validation
- Time: {minutes:.1f} minutes, {step} steps of {batch} frames
{tasks}- Inputs: cameras {cameras} at {size} px, {state},
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


_STATE = {
  'proprio': '{} proprioception entries',
  'joints': '{} entries, positions and rates of the joints',
}


class _Opened(NamedTuple):
  """Demonstrations of one or several tasks, and where the weights begin.

  start: params to begin with. mix: None where the state is what one task
  measures. tasks: that the VLA will know, of a mix.
  """

  config: PiConfig
  demos: Demos
  start: Params | None
  mix: TaskMix | None = None
  tasks: tuple[KnownTask, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class VlaFolder:
  """A training that writes into one folder.

  folder: new or empty. start: folder of a trained VLA to continue, or ''.
  command: the command line, for the record. share: weight of each of several
  tasks in a batch; empty weighs all alike. rest_share: see `TaskMix`.
  """

  folder: pathlib.Path
  start: str
  train: TrainConfig
  loss: LossConfig
  command: Sequence[str]
  share: tuple[float, ...] = ()
  rest_share: float = 0.0

  def run(
    self,
    demos_path: str | os.PathLike[str] | Sequence[str],
    sitting: Sitting | None = None,
    open_source: Callable[..., DemoSource] | None = None,
  ) -> pi_vla.PiVla:
    """Trains on demonstrations; writes on the way and at the end.

    Args:
      demos_path: file or folder; of .npz files, see `demos.load`, unless
        open_source reads others. Several are of a task each, .npz files.
      sitting: keeps states and prints; None does neither.
      open_source: (spec or config, tokenize, say) -> the demonstrations.

    Raises:
      ValueError: a folder in use, weights or demonstrations that do not fit.
      FloatingPointError: the training diverged.
      KeyboardInterrupt: a signal asked for the end; the state is saved.
    """
    paths = [demos_path]
    if not isinstance(demos_path, str | os.PathLike):
      paths = list(demos_path)
    sitting = sitting or Sitting()
    task_mix.check_rest_share(self.rest_share, len(paths))
    start, config = self._begin(sitting)
    if len(paths) > 1 or config.state == 'joints':
      opened = self._open_several(paths, start, config, sitting)
    else:
      _refuse_share(self.share)
      demos = self._load(paths[0], config, sitting, open_source)
      opened = _Opened(config, demos, start.params if start else None)
    demos, config = opened.demos, opened.config
    if start is not None:
      _check_same_actions(start.spec, opened, self.train.part)
    writer = _Writer(self, opened, _load_outcomes(paths, opened), sitting)
    sitting.say(training_record.describe(self.train.part, self.train, demos))
    params, metrics = fitting.fit(
      demos,
      config=config,
      train=self.train,
      loss=self.loss,
      log=writer.log,
      save=training_record.save_on_the_way(writer.save, sitting),
      start=opened.start,
      sitting=sitting,
      settings=training_record.lasting_settings(
        self.train,
        demos,
        config=dataclasses.asdict(config),
        loss=dataclasses.asdict(self.loss),
        **_settings_of_mix(opened.mix),
      ),
      mix=opened.mix,
    )
    return writer.save(params, metrics)

  def _begin(self, sitting: Sitting) -> tuple[pi_vla.PiVla | None, PiConfig]:
    """Returns the VLA to start from, or None, and the sizes so far."""
    if sitting.resumed:
      return None, PiConfig(**sitting.settings['config'])
    sitting_lib.check_new(self.folder)
    start = pi_vla.open_vla(self.start) if self.start else None
    # Before the demonstrations, which take a while to read.
    train.check_start(self.train, start)
    return start, start.config if start else PiConfig()

  def _load(
    self,
    path: str | os.PathLike[str],
    config: PiConfig,
    sitting: Sitting,
    open_source: Callable[..., DemoSource] | None,
  ) -> Demos:
    if open_source is None:
      return demos_lib.load(path, config.cameras, config.tokenize, sitting.say)
    # A VLA that goes on keeps its joints' order and its action's unit.
    is_there = bool(self.start) and pathlib.Path(self.start).is_dir()
    spec = pi_vla.open_vla(self.start).spec if is_there else config
    return demo_source.load_all(open_source(spec, config.tokenize, sitting.say))

  def _open_several(
    self,
    paths: Sequence[str],
    start: pi_vla.PiVla | None,
    config: PiConfig,
    sitting: Sitting,
  ) -> _Opened:
    """Opens a path of demonstrations for each task."""
    share = self.share or (1.0,) * len(paths)
    task_mix.check_shares(share, len(paths))
    indexes = task_mix.read_indexes(paths, config.cameras)
    params, scale = None, sitting.settings.get('action_scale')
    if not sitting.resumed:
      config = several_tasks.make_config(config, indexes)
      if start is not None:
        key = jax.random.key(self.train.seed)
        params = several_tasks.adapt(key, start, config, self.train.part)
        scale = start.spec.action_scale
    mix = task_mix.load(
      paths,
      share,
      config.cameras,
      config.tokenize,
      sitting.say,
      scale,
      self.rest_share,
    )
    tasks = several_tasks.know(indexes, mix.action_scale)
    return _Opened(config, mix.demos, params, mix, tasks)


def _refuse_share(share: Sequence[float]) -> None:
  if share:
    raise ValueError(
      f'share must be empty where there is one task: {list(share)}.'
    )


def _settings_of_mix(mix: TaskMix | None) -> dict[str, Any]:
  """Returns what another sitting must not change of the tasks."""
  if mix is None:
    return {}
  settings = {
    'tasks': mix.names(),
    'share': mix.share,
    'action_scale': mix.demos.action_scale,
  }
  # Older trainings have none.
  return settings | ({'rest_share': mix.rest_share} if mix.rest_share else {})


def _load_outcomes(
  paths: Sequence[str], opened: _Opened
) -> dict[str, dict[str, Any]]:
  """Returns how demonstrations ended, by the folder for the record.

  That of one task is '', for the VLA's own; of several each has its name.
  """
  names = opened.mix.names() if len(paths) > 1 else ('',)
  found = zip(names, map(demos_lib.load_outcomes, paths), strict=True)
  return {name: outcomes for name, outcomes in found if outcomes is not None}


class _Writer:
  """Writes the files of a training's folder."""

  def __init__(
    self,
    training: VlaFolder,
    opened: _Opened,
    outcomes: dict[str, dict[str, Any]],
    sitting: Sitting,
  ):
    self._training, self._opened, self._outcomes = training, opened, outcomes
    self.log = training_log.TrainingLog(training.folder, sitting).add

  def save(self, params: Params, metrics: dict[str, Any]) -> pi_vla.PiVla:
    """Writes weights, record, model card and how the demonstrations ended."""
    training = self._training
    training.folder.mkdir(parents=True, exist_ok=True)
    self.log(metrics)
    # For the reports of practice with this VLA.
    for name, outcomes in self._outcomes.items():
      (training.folder / name).mkdir(exist_ok=True)
      text = json.dumps(outcomes) + '\n'
      files.write_atomically(training.folder / name / demo_files.RECORD, text)
    vla = pi_vla.make(
      params,
      self._opened.config,
      tasks=self._opened.tasks or _only_tasks(self._opened.demos, params),
      **self._opened.demos.action_facts(),
    )
    card = _card(training, params, metrics, self._opened)
    files.write_atomically(training.folder / 'MODEL_CARD.md', card)
    vla.save(
      training.folder,
      metrics=metrics,
      command=training.command,
      seed=training.train.seed,
    )
    return vla


def _only_tasks(demos: Demos, params: Params) -> tuple[KnownTask, ...]:
  """Returns what a VLA knows that reads what its tasks measure."""
  norm, found = params['norm'], []
  for task in demos.tasks:
    numbers = (
      tuple(map(float, x)) for x in (norm.proprio_mean, norm.proprio_std)
    )
    kind = Measured(task.proprio_names, *numbers)
    found += of_facts([task], proprio=(kind,))
  return tuple(found)


def _check_same_actions(spec: VlaSpec, opened: _Opened, part: str) -> None:
  """Raises a ValueError if weights to start from mean other actions."""
  names = ['joint_names', 'control_hz', 'action_mode']
  # Trained as a whole, the VLA learns another unit. Tasks of a mix have theirs.
  names += ['action_scale'] if part != 'all' and opened.mix is None else []
  facts = opened.demos.action_facts()
  try:
    pi_vla.check_spec(spec, **{name: facts[name] for name in names})
  except ValueError as error:
    raise ValueError(
      f'Demonstrations must have the actions of the VLA in --start: {error} '
      'See --like of make_demos.'
    ) from None


def _card(
  training: VlaFolder,
  params: Params,
  metrics: dict[str, Any],
  opened: _Opened,
) -> str:
  """Returns the text of MODEL_CARD.md."""
  demos, config, mix = opened.demos, opened.config, opened.mix
  count = sum(
    x.size
    for name in ('prefix', 'expert', 'readout')
    for x in jax.tree.leaves(params[name])
  )
  facts = training_record.card_facts(
    training.train,
    demos,
    metrics,
    command=training.command,
    start=training.start,
  )
  return _CARD.format(
    parameters=count / 1e6,
    cameras=', '.join(config.cameras),
    size=config.image_size,
    state=_STATE[config.state].format(config.proprio_dim),
    prompt=config.prompt_length,
    horizon=config.horizon,
    action=config.action_dim,
    mode=demos.action_mode,
    prefix_weight=training.loss.prefix_weight,
    part=training.train.part,
    tasks='' if mix is None else _spell_mix(mix),
    **facts,
  )


def _spell_mix(mix: TaskMix) -> str:
  """Returns the lines of the model card on the tasks."""
  lines = ''.join(
    f'- Task `{name}`: {len(rows)} frames of '
    f'{len(np.unique(mix.demos.frames.episode[rows]))} demonstrations, in a '
    f'batch with probability {share:.3g}\n'
    for name, rows, share in zip(mix.names(), mix.rows, mix.share, strict=True)
  )
  if mix.rest_share:
    lines += (
      f'- A frame is shown with probability {mix.rest_share:.3g} with the\n'
      '  instruction of another task, and at rest\n'
    )
  return lines
