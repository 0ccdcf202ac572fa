"""One run in one workdir: practised, evaluated along the way, reported."""

import pathlib
from typing import Any

from rlt_jax.export import checkpoint
from rlt_jax.reporting.metrics import LiveLine
from rlt_jax.training import experiment as experiment_lib
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import setup as setup_lib
from rlt_jax.training import summary
from rlt_jax.training.config import PracticeConfig


class PracticeRun(experiment_lib.Experiment):
  """A practice run; see `experiments/practice.py` for how it is used."""

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    resume: bool,
    assets: str = '',
    command: str = '',
  ):
    """Refuses what does not fit before anything runs.

    Args:
      workdir: a new folder, or with `resume` the folder of the same run.
      config: the run's settings.
      resume: go on from the workdir's last checkpoint.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the report.

    Raises:
      ValueError: an existing workdir, or assets or a checkpoint that do not
        fit, each by name.
    """
    self._stop = experiment_lib.Stop()
    cell = setup_lib.make(config, assets)
    experiment_lib.check_workdir(workdir, resume)
    self.practice = loop_lib.Practice(
      cell.play, cell.perception, cell.agent, config
    )
    super().__init__(
      workdir=workdir,
      config=config,
      cell=cell,
      evaluator=setup_lib.make_evaluator(cell, config),
      command=command,
      heed_stop=self._stop.heed,
    )
    self.state: loop_lib.PracticeState | None = None
    self._resumed_steps: int | None = None
    if resume:
      self.check_checkpoint()  # before anything compiles
      restored = self.restore(self.practice.init())
      self._resumed_steps = restored.env_steps
      self._come_to(restored.state)
    self.write_config()

  def save(self) -> None:
    """Writes a checkpoint of the last complete round, if there was one."""
    if self.state is None:
      return
    checkpoint.save(self.workdir, self.state.env_steps, self.state, self.meta)

  def practise(self) -> None:
    """Evaluates the base, practises, and evaluates along the way.

    Ctrl-C is taken at the end of a round, so that there is always a whole
    state to save.

    Raises:
      KeyboardInterrupt: after the round in which Ctrl-C came.
      FloatingPointError: a number is no longer finite; the last good
        checkpoint stays as it is.
    """
    self._stop.listen()
    self.evaluate_base()
    with summary.Timer(self.seconds, 'compile_and_start_s'):
      self._come_to(self.state or self.practice.init())
    self.open_metrics(self._resumed_steps)
    self._live = LiveLine()
    for minutes, steps in self.marks():
      self._run_to(steps)
      self.evaluate_actor(minutes, steps)
    self.save()
    self._live.close()
    self.close_metrics()

  def report(self) -> None:
    """Films matched episodes and writes the report."""
    summary.write(self, self.seconds)

  def _come_to(self, state: loop_lib.PracticeState) -> None:
    self.state = state
    self.progress = experiment_lib.Progress(
      env_steps=state.env_steps,
      rows=state.learner.rows,
      critic_updates=int(self.cell.agent.num_updates(state.learner.agent)),
      episodes=state.episodes(),
      actor=state.policy,
    )

  def _run_to(self, steps: int) -> None:
    every = round(
      self.config.checkpoint_minutes * experiment_lib.STEPS_PER_MINUTE
    )
    while self.state.env_steps < steps:
      mark = (self.state.env_steps // every + 1) * every
      with summary.Timer(self.seconds, 'practice_s'):
        self.state = self.practice.run(
          self.state, min(mark, steps), self._on_round
        )
      if self.state.env_steps >= mark:
        self.save()

  def _on_round(
    self, state: loop_lib.PracticeState, metrics: dict[str, Any]
  ) -> None:
    self._come_to(state)
    row = self.note(self.progress, metrics)
    self._live.show(
      self.progress.episodes,
      env_steps=state.env_steps,
      updates_per_s=row['updates_per_s'],
      phase=metrics['phase'],
      beta_ratio=metrics.get('beta_ratio'),
    )
    self.diagnose_agent(metrics)
    self._stop.heed()
