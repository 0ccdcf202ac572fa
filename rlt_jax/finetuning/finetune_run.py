"""One run of a method that fine-tunes the VLA, in one workdir.

It evaluates the VLA, makes its demonstrations again, and then in each round
collects, trains and evaluates. A part that is done is not done again; one that
was stopped begins anew, but for demonstrations and trainings, which go on.
"""

from collections.abc import Mapping
import dataclasses
import json
import pathlib
import shlex
import shutil
from typing import Any

import jax

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.demonstrations import collect as demos_collect
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.export import checkpoint
from rlt_jax.finetuning import collect, parts, training
from rlt_jax.finetuning.config import (
  DEMO_STEPS,
  DEMO_WORLDS,
  FinetuneConfig,
  OPERATORS,
)
from rlt_jax.finetuning.recorder import Recorder
from rlt_jax.finetuning.result import write_report
from rlt_jax.reporting import provenance, statistics
from rlt_jax.reporting.progress import ProgressLine
from rlt_jax.signals import StopRequest
from rlt_jax.training import run_folder
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.experiment import Timer
from rlt_jax.training.folder_sitting import FolderSitting
from rlt_jax.training.run_folder import CONFIG_FILE, EVALUATIONS_FILE, Record
from rlt_jax.training.setup import TaskSetup
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.pi_small.pi_vla import PiVla

METHOD_FILE, STAGES_FILE = 'finetuning.json', 'stages.json'
_DEMO_SEED = 1_000  # added, so that no trained demonstration is made again


class FinetuneRun:
  """Fine-tuning of one seed; it has the methods of a practice run."""

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    finetuning: FinetuneConfig,
    assets: str = '',
    command: str = '',
  ):
    """Checks settings and parts, locks the workdir and writes the settings.

    Args:
      workdir: new, or that of a run with the same settings, which goes on.
      config: of the task, the VLA, the robot minutes, the person, and of the
        agent where one practices.
      finetuning: of the method.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the report.

    Raises:
      ValueError: settings or parts that do not fit, by name.
      OSError: another process writes there, or this one cannot.
    """
    self._round = parts.of_one_round(config, finetuning.rounds)
    self._setup, self._start = parts.make_setup(self._round, finetuning, assets)
    self.workdir, self.config, self.finetuning = workdir, config, finetuning
    # Read now: the code may change before the report is written.
    self._origin = {
      'assets': assets,
      'command': command,
      'commit': provenance.commit(),
    }
    self._lock = run_folder.lock(workdir)
    spec = self._setup.embedder.spec
    about = {
      'settings': dataclasses.asdict(finetuning),
      'fingerprints': {
        'vla': spec.vla_fingerprint,
        'token': spec.token_fingerprint,
      },
    }
    for name, text in (
      (METHOD_FILE, json.dumps(about, indent=1)),
      (CONFIG_FILE, config_lib.to_json(config)),
    ):
      files.write_atomically(workdir / name, text + '\n')
    self.stages = Record(workdir / STAGES_FILE)
    self.record = Record(workdir / EVALUATIONS_FILE)
    self._seconds = self.record.seconds()
    self._progress = ProgressLine()

  def close(self) -> None:
    """Gives the workdir back to other processes."""
    if self._lock is not None:
      self._lock.release()
      self._lock = None

  def practice(self) -> None:
    """Does what is not done yet.

    Raises:
      KeyboardInterrupt: a signal came; what is complete is kept.
      FloatingPointError: a number is no longer finite.
    """
    self._evaluate_start()
    self._make_demos()
    for number in range(self.finetuning.rounds):
      self._collect(number)
      self._train(number)
      self._evaluate(number)

  def report(self) -> None:
    """Writes the report, and deletes the demonstrations that were made."""
    write_report(self, **self._origin)
    shutil.rmtree(self.workdir / 'data' / training.DEMONSTRATIONS, True)

  def make_recorder(self) -> Recorder:
    """Returns what keeps the steps to learn from."""
    return Recorder(
      self._setup.task,
      worlds=self.config.num_envs,
      stride=self.finetuning.stride,
      whole=self.finetuning.kept == 'successes',
    )

  def driven_by(self, vla: PiVla) -> TaskSetup:
    """Returns the setup in which a VLA drives."""
    return parts.with_vla(self._setup, vla)

  def tune(
    self,
    paths: Mapping[str, pathlib.Path],
    sitting: FolderSitting,
    folder: pathlib.Path,
  ) -> training.Tuned:
    """Trains the first weights.

    Args:
      paths: of `training.read`.
      sitting, folder: of `training.tune`.
    """
    mix = training.read(paths, self.finetuning.demo_share, self.start)
    seed = self.config.seed
    return training.tune(
      self.start,
      mix,
      self.finetuning,
      seed=seed,
      sitting=sitting,
      folder=folder,
    )

  @property
  def start(self) -> PiVla:
    """The VLA at the start."""
    return self._start

  @property
  def setup(self) -> TaskSetup:
    """Task, VLA and token at the start."""
    return self._setup

  def minutes(self, number: int) -> str:
    """Returns the robot minutes at the end of a round, as a mark has them."""
    whole = self.config.minutes(self.config.num_env_steps)
    return f'{whole * (number + 1) / self.finetuning.rounds:.4g}'

  def seconds(self) -> dict[str, float]:
    """Returns the wall-clock seconds so far by part."""
    return dict(self._seconds)

  def _timer(self, name: str) -> Timer:
    return Timer(self._seconds, name)

  def _keep(self, name: str, found: dict[str, Any]) -> None:
    """Enters a stage that is complete."""
    self.stages.put(name, found)
    self.record.put_seconds(self._seconds)

  def _first_setup(self) -> TaskSetup:
    """Returns the setup in which the VLA of the start drives."""
    if self.finetuning.driver == 'agent':
      return self._setup  # which the agent compiles anyway
    return parts.with_vla(self._setup, self._start)

  def _vla_after(self, rounds: int) -> PiVla:
    if not rounds:
      return self._start
    return pi_vla.load(self.workdir / f'vla-{rounds - 1}')

  def _evaluate_start(self) -> None:
    open_loop, chunk = self.config.open_loop_steps, self.config.chunk_size
    due = {'base': open_loop, f'base{chunk}@0': chunk}
    count = self.config.num_final_episodes
    self._evaluate_vla(self._first_setup, due, count)

  def _evaluate(self, number: int) -> None:
    """Evaluates the VLA of a round; the last one at both horizons."""
    mark, config = self.minutes(number), self.config
    due, count = {f'mean@{mark}': config.chunk_size}, config.num_eval_episodes
    if number == self.finetuning.rounds - 1:
      due[f'mean{config.open_loop_steps}@{mark}'] = config.open_loop_steps
      count = config.num_final_episodes
    self._evaluate_vla(
      lambda: self.driven_by(self._vla_after(number + 1)),
      due,
      count,
    )

  def _evaluate_vla(self, make_setup, due, count) -> None:
    due = {k: steps for k, steps in due.items() if k not in self.record.data}
    if not due:
      return
    self._progress.say(f'Evaluating the VLA in {count} episodes, {list(due)}.')
    with StopRequest('at once; this evaluation is made again') as stop:
      evaluator = setup_lib.make_evaluator(make_setup(), self.config)
      for name, steps in due.items():
        policy = evaluator_lib.base_policy(steps)
        with self._timer('evaluation_s'):
          episodes, _ = stop.call(evaluator.run, policy, count)
        self.record.put_episodes(name, episodes)
        hz = self.config.task.control_hz
        self._progress.say(f'{name}: {statistics.describe(episodes, hz)}')
    self.record.put_seconds(self._seconds)

  def _make_demos(self) -> None:
    """Makes the VLA's demonstrations again, or the rest of them."""
    name, config = training.DEMONSTRATIONS, self.finetuning
    if name in self.stages.data:
      return
    task, folder = self._setup.task, self.workdir / 'data' / name
    operator = OPERATORS.get(self.config.task_name, ())
    space = self._setup.perception.space
    collector = demos_collect.Collector(
      task,
      demos_collect.make_expert(task, operator),
      demos_collect.CollectConfig(
        episodes=config.demos,
        worlds=min(DEMO_WORLDS, config.demos),
        steps=min(DEMO_STEPS, task.spec.time_limit),
        stride=config.demo_stride,
        action_mode=space.mode,
        horizon=self._start.spec.horizon,
        seed=_DEMO_SEED + self.config.seed,
      ),
      space,
    )
    with self._timer('demonstrations_s'):
      table = collector.run(
        folder,
        resume=(folder / 'demos.json').exists(),
        report=self._progress.say,
      )
    self._keep(name, {'outcome': table['outcome'], 'steps': table['steps']})

  def _collect(self, number: int) -> None:
    """Lets the robot run for a round and writes what is learned from."""
    name, config = f'collected-{number}', self.finetuning
    if name in self.stages.data:
      return
    folder = self.workdir / 'data' / training.COLLECTED / f'round-{number}'
    shutil.rmtree(folder, ignore_errors=True)
    with StopRequest('at once; this round begins again') as stop:
      self._progress.say(f'Round {number + 1} of {config.rounds}: collecting.')
      with self._timer('practice_s'):
        found = stop.call(self._drive, number, stop)
    if found.demos:
      training.write(
        folder,
        found.demos,
        self._setup.task,
        self._setup.perception.space,
        horizon=self._start.spec.horizon,
        more=found.columns,
      )
    self._progress.say(f'{len(found.demos)} stretches to learn from.')
    self._keep(name, collect.describe(found))

  def _drive(self, number: int, stop: StopRequest) -> collect.Collected:
    config, recorder = self._round, self.make_recorder()

    def progress(steps: int) -> None:
      stop.raise_if_stopped()
      done, whole = map(config.minutes, (steps, config.num_env_steps))
      self._progress.show(
        f'{done:.2f} of {whole:.4g} robot minutes, '
        f'{len(recorder.demos)} stretches'
      )

    if self.finetuning.driver == 'agent':
      return collect.by_agent(self._setup, config, recorder, progress)
    setup = self.driven_by(self._vla_after(number))
    key = jax.random.fold_in(jax.random.PRNGKey(config.seed), number)
    return collect.by_vla(setup, config, recorder, progress, key=key)

  def _train(self, number: int) -> None:
    """Trains from the first weights on all that was collected so far."""
    name, target = f'trained-{number}', self.workdir / f'vla-{number}'
    if name in self.stages.data:
      return
    count = sum(
      self.stages.data[f'collected-{x}']['stretches'] for x in range(number + 1)
    )
    if count < self.finetuning.least:
      self._progress.say(f'Nothing is trained on {count} stretches.')
      self._save(target, self._start, {})
      self._keep(name, {'trained': False, 'stretches': count})
      return
    data, folder = self.workdir / 'data', self.workdir / 'training'
    paths = {x: data / x for x in (training.DEMONSTRATIONS, training.COLLECTED)}
    sitting = self._sitting(folder / f'round-{number}')
    with self._timer('training_s'):
      tuned = self.tune(paths, sitting, folder / f'round-{number}')
    self._save(target, tuned.vla, tuned.metrics)
    found = {'trained': True, 'stretches': count, 'held_out': tuned.held_out}
    found |= {'value': tuned.value} if tuned.value else {}
    self._keep(name, found | {'updates': self.finetuning.steps})
    sitting.finish()

  def _sitting(self, folder: pathlib.Path) -> FolderSitting:
    resume = checkpoint.latest(folder) is not None
    if not resume:  # it may have been stopped before anything was saved
      shutil.rmtree(folder, ignore_errors=True)
    return FolderSitting(folder, resume=resume, progress=self._progress)

  def _save(
    self, folder: pathlib.Path, vla: PiVla, metrics: dict[str, Any]
  ) -> None:
    vla.save(
      folder,
      metrics=metrics,
      command=shlex.split(self._origin['command']),
      seed=self.config.seed,
    )
