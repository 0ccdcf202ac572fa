"""One run in one workdir: assets, checkpoints, metrics, evaluations, report."""

from collections.abc import Mapping
import json
import pathlib
import signal
import threading
from typing import Any

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.agent import still
from rlt_jax.export import checkpoint
from rlt_jax.rollout import cell as cell_lib
from rlt_jax.rollout import evaluate, provenance, results, statistics
from rlt_jax.rollout import practice as practice_lib
from rlt_jax.rollout.config import PracticeConfig
from rlt_jax.rollout.metrics import LiveLine, MetricsWriter
from rlt_jax.sim import insertion
from rlt_jax.update import beta_advice, beta_report, reference_variance

_STEPS_PER_MINUTE = 60 * insertion.CONTROL_HZ
_WINDOW = 50  # episodes in the running figures


class Session:
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
    self.workdir, self.config, self.command = workdir, config, command
    # Now, not when the report is written: the code may move on meanwhile.
    self.commit = provenance.commit()
    self._stop = False
    self._resumed_steps: int | None = None
    self._seconds: dict[str, float] = {}
    self.cell = cell_lib.make(config, assets)
    if workdir.exists() and not resume:
      raise ValueError(
        f'workdir must be new (or pass --resume to go on): {workdir}.'
      )
    if resume and checkpoint.latest(workdir) is None:
      raise ValueError(
        f'--resume needs a checkpoint in the workdir: {workdir}.'
      )
    self._meta = checkpoint.make_meta(
      json.loads(config_lib.to_json(config)),
      {
        'vla': self.cell.vla.spec.fingerprint,
        'token': self.cell.token.spec.fingerprint,
      },
    )
    self.practice = practice_lib.make(
      self.cell.task, self.cell.perception, config
    )
    self.evaluator = cell_lib.make_evaluator(self.cell, config)
    self.record = results.Record(workdir / 'evaluations.json')
    self.state = self._restore() if resume else None
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / 'config.json').write_text(config_lib.to_json(config) + '\n')

  def _restore(self) -> practice_lib.PracticeState:
    like = self.practice.begin()
    restored = checkpoint.restore(
      self.workdir,
      like,
      expected_meta={
        name: self._meta[name] for name in ('config', 'fingerprints')
      },
    )
    print(f'Resumed at {restored.robot_steps} control steps.', flush=True)
    self._resumed_steps = restored.robot_steps
    return restored.state

  def save(self) -> None:
    """Writes a checkpoint of the last complete round, if there was one."""
    if self.state is None:
      return
    checkpoint.save(
      self.workdir, self.state.robot_steps, self.state, self._meta
    )

  def practise(self) -> None:
    """Evaluates the base, practises, and evaluates along the way.

    Ctrl-C is taken at the end of a round, so that there is always a whole
    state to save.

    Raises:
      KeyboardInterrupt: after the round in which Ctrl-C came.
      FloatingPointError: a number is no longer finite; the last good
        checkpoint stays as it is.
    """
    if threading.current_thread() is threading.main_thread():
      signal.signal(signal.SIGINT, self._ask_to_stop)
    self._evaluate_base()
    with results.Timer(self._seconds, 'compile_and_start_s'):
      self.state = self.state or self.practice.begin()
    self._metrics = MetricsWriter(
      self.workdir, resume_steps=self._resumed_steps
    )
    self._live = LiveLine()
    end = self.config.robot_steps
    for minutes in (*self.config.eval_minutes, self.config.minutes(end)):
      steps = min(round(minutes * _STEPS_PER_MINUTE), end)
      self._run_to(steps)
      self._evaluate_actor(minutes, steps)
    self.save()
    self._live.close()
    self._metrics.close()

  def report(self) -> None:
    """Films matched episodes and writes the report."""
    results.write(self, self._seconds)

  def _ask_to_stop(self, signum: int, frame: Any) -> None:
    del signum, frame
    if self._stop:
      raise KeyboardInterrupt
    self._stop = True
    print('\nStopping after this round; Ctrl-C again stops now.', flush=True)

  def _run_to(self, steps: int) -> None:
    every = round(self.config.checkpoint_minutes * _STEPS_PER_MINUTE)
    while self.state.robot_steps < steps:
      mark = (self.state.robot_steps // every + 1) * every
      with results.Timer(self._seconds, 'practice_s'):
        self.state = self.practice.run(
          self.state, min(mark, steps), self._on_round
        )
      if self.state.robot_steps >= mark:
        self.save()

  def _on_round(
    self, state: practice_lib.PracticeState, metrics: dict[str, Any]
  ) -> None:
    self.state = state
    episodes = state.episodes()
    recent = statistics.Episodes(*(x[-_WINDOW:] for x in episodes))
    row = {'robot_steps': state.robot_steps, 'rows': state.learner.rows}
    if len(recent.success):
      row['success'] = float(recent.success.mean())
      row['throughput_per_10min'] = statistics.summarize(recent)[
        'throughput_per_10min'
      ]
    made = int(state.learner.train.critic_steps)
    row['critic_steps'] = made
    row['updates_per_s'] = (made - getattr(self, '_made', made)) / max(
      metrics['round_s'], 1e-9
    )
    self._made = made
    self._metrics.write(row | metrics)
    self._live.show(
      episodes,
      robot_steps=state.robot_steps,
      updates_per_s=row['updates_per_s'],
      phase=metrics['phase'],
      beta_ratio=metrics.get('beta_ratio'),
    )
    self._judge_beta(metrics)
    self._heed_stop()

  def _heed_stop(self) -> None:
    if self._stop:
      raise KeyboardInterrupt

  def _judge_beta(self, metrics: Mapping[str, Any]) -> None:
    """Says once, after the warm-up, whether beta suits the task."""
    if metrics['phase'] == 'warm-up' or 'beta_ratio' not in metrics:
      return
    self.record.latest_beta = dict(metrics)
    if 'beta' in self.record.data:
      return
    variance = self.reference_variance()
    self.record.put('beta', {
      'reference_variance': variance,
      'after_warmup_ratio': metrics['beta_ratio'],
      'after_warmup_distance': metrics['reference_distance'] / variance,
    })  # fmt: skip
    print(
      '\n' + (beta_advice(metrics, variance) or beta_report(metrics, variance)),
      flush=True,
    )

  def reference_variance(self, samples: int = 8, states: int = 20) -> float:
    """Returns the spread of the VLA's chunk at a state, squared units."""
    worlds = self.evaluator.initial_states(states)
    chunks = [
      self.cell.perception.perceive(worlds, jax.random.PRNGKey(i)).reference
      for i in range(samples)
    ]
    chunks = np.stack(chunks)[:, :, : self.config.chunk]
    return reference_variance(still(chunks, self.config.agent.idle_entries))

  def _evaluate_base(self) -> None:
    if 'base' in self.record.data:
      return
    with results.Timer(self._seconds, 'evaluation_s'):
      episodes, _ = self.evaluator.run(
        evaluate.base_policy(self.config.base_horizon),
        self.config.final_episodes,
      )
    self.record.put_episodes('base', episodes)
    print('base:', results.sentence(episodes), flush=True)
    self._heed_stop()

  def _evaluate_actor(self, minutes: float, steps: int) -> None:
    final = steps >= self.config.robot_steps
    count = self.config.final_episodes if final else self.config.eval_episodes
    for name, sigma in (('mean', 0.0), ('exploring', self.config.agent.sigma)):
      key = f'{name}@{minutes:g}'
      if key in self.record.data:
        continue
      policy = self.actor(sigma)
      with results.Timer(self._seconds, 'evaluation_s'):
        episodes, _ = self.evaluator.run(policy, count)
      self.record.put_episodes(key, episodes)
      print(
        f'\n{minutes:g} min, {name} policy:', results.sentence(episodes),
        flush=True,
      )  # fmt: skip
      self._heed_stop()

  def actor(self, sigma: float) -> evaluate.Policy:
    """Returns the present actor as a policy."""
    return evaluate.actor_policy(
      self.practice.nets,
      self.state.actor,
      chunk=self.config.chunk,
      sigma=sigma,
    )
