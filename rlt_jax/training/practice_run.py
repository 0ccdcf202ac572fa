"""One run in one workdir: practice, evaluations and report."""

import contextlib
import pathlib
from typing import Any

from rlt_jax.reporting.metrics import LiveLine
from rlt_jax.signals import StopRequest
from rlt_jax.training import experiment as experiment_lib
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import run_folder, summary, value_moments
from rlt_jax.training import setup as setup_lib
from rlt_jax.training import shared as shared_lib
from rlt_jax.training.config import PracticeConfig


class PracticeRun:
  """A practice run; see `experiments/practice.py` for its use.

  experiment: the record in its workdir. loop: Algorithm 1. state: after the
  newest round; None before the first one.
  """

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    resume: bool,
    assets: str = '',
    command: str = '',
  ):
    """Checks settings, assets and workdir, and restores a checkpoint.

    Args:
      workdir: a new folder, or with `resume` the folder of the same run. It is
        locked until `close` or the end of the process.
      config: the run's settings.
      resume: continue from the workdir's last checkpoint.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the report.

    Raises:
      ValueError: an existing workdir, or assets or a checkpoint that do not
        fit, each by name.
      OSError: another process writes the workdir, or this one cannot.
    """
    self._stop = StopRequest('after this round; then the run is saved')
    setup = setup_lib.make(config, assets)
    run_folder.check_workdir(workdir, resume)
    self.loop = loop_lib.Practice(
      setup.rollout_fns, setup.perception, setup.agent, config, setup.human
    )
    self.experiment = experiment_lib.Experiment(
      workdir=workdir,
      config=config,
      shared=shared_lib.make_shared(setup, config, self._stop, assets),
      command=command,
    )
    self.state: loop_lib.PracticeState | None = None
    self._resumed_steps: int | None = None
    self._saved_steps: int | None = None  # of the newest checkpoint
    self._live = LiveLine()
    if resume:
      self.experiment.check_checkpoint()  # before anything compiles
    self.experiment.open(resume)
    try:
      if resume:
        self._restore()
      self.experiment.write_config()
    except BaseException:
      self.close()
      raise

  def close(self) -> None:
    """Gives the workdir back to other processes."""
    self.experiment.close()

  def save(self) -> None:
    """Writes a checkpoint of the last complete round, unless it is written.

    Raises:
      RuntimeError: a round ended in a fault; its state is gone.
      SaveError: the checkpoint could not be written; the last one stays.
    """
    if self.state is None or self.state.env_steps == self._saved_steps:
      return
    loop_lib.check_whole(self.state)
    self.experiment.keep_seconds()
    self.experiment.save(self.state, self.state.env_steps)
    self._saved_steps = self.state.env_steps

  def is_saved(self) -> bool:
    """Returns whether there is a checkpoint to resume from."""
    return self._saved_steps is not None

  def practice(self) -> None:
    """Evaluates the VLA alone, then practices with evaluations in between.

    Ctrl-C, SIGTERM and SIGHUP take effect at the end of a round, so that the
    state to save is complete. An evaluation is given up and made again by the
    resumed run.

    Raises:
      KeyboardInterrupt: one of them came; the last round is saved.
      FloatingPointError: a number is no longer finite; the last good
        checkpoint stays as it is.
    """
    with self._stop:
      try:
        self._practice()
      except KeyboardInterrupt:
        self.save()
        raise
      finally:
        self._live.close()
        with contextlib.suppress(OSError):  # a full disk is said by what failed
          self.experiment.keep_seconds()
        self.experiment.close_metrics()

  def report(self) -> None:
    """Makes the videos and writes the report."""
    with self._stop:
      summary.write(self.experiment, self.experiment.seconds)

  def _restore(self) -> None:
    self.experiment.print_line(
      f'Opening the checkpoint; {experiment_lib.COMPILING}.'
    )
    with self._stop:
      like = self._stop.call(self.loop.init)
    restored = self.experiment.restore(like)
    self._resumed_steps = self._saved_steps = restored.env_steps
    self._set_state(restored.state)

  def _practice(self) -> None:
    self.experiment.evaluate_base()
    self.experiment.print_line(
      f'Starting practice; {experiment_lib.COMPILING}.'
    )
    with experiment_lib.Timer(self.experiment.seconds, 'compile_and_start_s'):
      self._set_state(self.state or self._stop.call(self.loop.init))
      self._stop.call(self.loop.compile, self.state)
    self.experiment.open_metrics(self._resumed_steps)
    for minutes, steps in self.experiment.eval_schedule():
      self._run_to(steps)
      self.experiment.evaluate_agent(minutes, steps)
    self.save()

  def _set_state(self, state: loop_lib.PracticeState) -> None:
    self.state = state
    agent, human = self.experiment.shared.setup.agent, state.actors.human
    self.experiment.progress = experiment_lib.Progress(
      env_steps=state.env_steps,
      rows=state.learner.rows,
      critic_updates=int(agent.num_updates(state.learner.agent)),
      episodes=state.episodes(),
      policy=state.policy,
      human_steps=(
        0 if human is None else int(human.demo_steps + human.help_steps)
      ),
    )

  def _run_to(self, steps: int) -> None:
    """Practices until `steps` control steps and saves checkpoints."""
    every = self.experiment.checkpoint_steps()
    while self.state.env_steps < steps:
      next_save = (self.state.env_steps // every + 1) * every
      with experiment_lib.Timer(self.experiment.seconds, 'practice_s'):
        self.state = self.loop.run(
          self.state, min(next_save, steps), self._on_round
        )
      if self.state.env_steps >= next_save:
        self.save()

  def _on_round(
    self, state: loop_lib.PracticeState, metrics: dict[str, Any]
  ) -> None:
    self._set_state(state)
    row = self.experiment.log_round(self.experiment.progress, metrics)
    self._live.show(
      self.experiment.progress.episodes,
      env_steps=state.env_steps,
      goal_steps=self.experiment.config.num_env_steps,
      round_s=metrics['round_s'],
      updates_per_s=row['updates_per_s'],
      phase=metrics['phase'],
      control_hz=self.experiment.shared.setup.task.spec.control_hz,
      beta_ratio=metrics.get('beta_ratio'),
    )
    self.experiment.diagnose_agent(metrics)
    value_moments.diagnose(self.experiment, metrics, lambda: state.learner)
    self._stop.raise_if_stopped()
