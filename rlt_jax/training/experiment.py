"""The record of a run in its workdir: settings, metrics and evaluations.

`practice_run` drives one run and `sweep` several; both use this record.
"""

from collections.abc import Mapping
import pathlib
import time
from typing import Any, NamedTuple

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.agents.agent import Diagnosis
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.export import checkpoint
from rlt_jax.lock import Lock
from rlt_jax.reporting import provenance, statistics
from rlt_jax.reporting.metrics import MetricsWriter, read_metrics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training import advice, run_folder, saved_policy
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.run_folder import CONFIG_FILE, EVALUATIONS_FILE, Record
from rlt_jax.training.shared import Shared
from rlt_jax.types import Params

# In the lines that say what comes next.
COMPILING = (
  'compiling first, which takes about a minute where nothing is cached'
)
# In PracticeState; a task may use infinity in states of its own.
_OF_THE_TASK = 'actors/env_states'
_WINDOW = 50  # episodes in the running figures


class Progress(NamedTuple):
  """Progress of a run.

  env_steps, rows, critic_updates: so far. episodes: the last ended ones.
  policy: params that drive the next round. human_steps: control steps that a
  simulated person drove.
  """

  env_steps: int
  rows: int
  critic_updates: int
  episodes: Episodes
  policy: Params
  human_steps: int = 0


class Timer:
  """Adds the seconds of a `with` block to one entry of a table."""

  def __init__(self, table: dict[str, float], name: str):
    self._table, self._name = table, name

  def __enter__(self) -> None:
    self._start = time.perf_counter()

  def __exit__(self, *unused_exception) -> None:
    spent = time.perf_counter() - self._start
    self._table[self._name] = self._table.get(self._name, 0.0) + spent


class Experiment:
  """The record of one run; its caller sets `progress`."""

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    shared: Shared,
    command: str,
    name: str = '',
  ):
    """Reads the files in the workdir; writes nothing until `open`.

    Args:
      workdir: of the run.
      config: the run's settings.
      shared: by all runs of this process.
      command: recorded in the report.
      name: printed before the run's lines, for several runs in one process.
    """
    self.workdir, self.config, self.command = workdir, config, command
    # Read now: the code may change before the report is written.
    self.commit = provenance.commit()
    self.shared = shared
    self.record = Record(workdir / EVALUATIONS_FILE)
    self.meta = saved_policy.make_meta(config, shared.setup.embedder.spec)
    self.progress: Progress | None = None
    self.latest_metrics: dict[str, Any] = {}  # of the agent, after the warm-up
    self.seconds = self.record.seconds()  # of all processes of the run
    self._name = f'{name}: ' if name else ''
    self._updates_before = 0
    self._metrics: MetricsWriter | None = None
    self._lock: Lock | None = None

  def open(self, resume: bool) -> None:
    """Locks the workdir for this process.

    A new run deletes what an earlier one without a checkpoint left there.

    Raises:
      ValueError: the workdir has become one that cannot be used.
      OSError: another process writes there, or this one cannot.
    """
    self._lock = run_folder.lock(self.workdir)
    try:
      # Once more: another process may have been quicker.
      run_folder.check_workdir(self.workdir, resume)
    except ValueError:
      self.close()
      raise
    if not resume:
      run_folder.clear(self.workdir)
    self.record = Record(self.workdir / EVALUATIONS_FILE)
    self.seconds = self.record.seconds()

  def close(self) -> None:
    """Gives the workdir back to other processes."""
    self.close_metrics()
    if self._lock is not None:
      self._lock.release()
      self._lock = None

  def check_checkpoint(self) -> None:
    """Raises ValueError if it is of other settings or assets, named."""
    checkpoint.find(self.workdir, expected_meta=self._expected_meta())

  def restore(self, like: Any) -> checkpoint.Restored:
    """Returns the newest checkpoint, with the structure of `like`.

    Raises:
      ValueError: it is of other settings or assets, named.
    """
    restored = checkpoint.restore(
      self.workdir, like, expected_meta=self._expected_meta(), set_aside=True
    )
    self.print_line(f'Resumed at {restored.env_steps} control steps.')
    return restored

  def save(self, state: Any, env_steps: int) -> None:
    """Writes a checkpoint; the one before it is kept, too.

    What belongs to it is on the disk before it.
    """
    if self._metrics is not None:
      self._metrics.sync()
    checkpoint.save(
      self.workdir, env_steps, state, self.meta, infinite=_OF_THE_TASK
    )

  def write_config(self) -> None:
    """Writes the settings into the workdir."""
    text = config_lib.to_json(self.config) + '\n'
    files.write_atomically(self.workdir / CONFIG_FILE, text)

  def open_metrics(self, resume_steps: int | None) -> None:
    """Opens metrics.jsonl; `log_round` writes to it. See MetricsWriter.

    A resumed run takes from it what the run before the stop knew.
    """
    self._metrics = MetricsWriter(self.workdir, resume_steps=resume_steps)
    self._updates_before = self.progress.critic_updates
    if resume_steps is not None:
      for row in read_metrics(self.workdir):
        if _learned(row):
          self.latest_metrics = row

  def close_metrics(self) -> None:
    """Closes metrics.jsonl, if it is open."""
    if self._metrics is not None:
      self._metrics.close()
      self._metrics = None

  def all_seconds(
    self, shared: Mapping[str, float] | None = None
  ) -> dict[str, float]:
    """Returns the wall-clock seconds so far by part.

    Args:
      shared: this run's share of what several runs spent together.
    """
    seconds = dict(self.seconds)
    for name, spent in (shared or {}).items():
      seconds[name] = seconds.get(name, 0.0) + spent
    return seconds

  def keep_seconds(self, shared: Mapping[str, float] | None = None) -> None:
    """Keeps `all_seconds` for the report of a resumed run."""
    self.record.put_seconds(self.all_seconds(shared))

  def log_round(
    self, progress: Progress, metrics: Mapping[str, Any]
  ) -> dict[str, Any]:
    """Writes a row of metrics.jsonl and returns it.

    Args:
      progress: after the round.
      metrics: of the round, with its 'phase' and 'round_s'.
    """
    self.progress = progress
    recent = Episodes(*(x[-_WINDOW:] for x in progress.episodes))
    row = {'env_steps': progress.env_steps, 'rows': progress.rows}
    if len(recent.success):
      row['success'] = float(recent.success.mean())
      row['throughput_per_10min'] = statistics.throughput_per_10min(
        recent, self.config.task.control_hz
      )
    row['critic_updates'] = progress.critic_updates
    new = progress.critic_updates - self._updates_before
    self._updates_before = progress.critic_updates
    row['updates_per_s'] = new / max(metrics['round_s'], 1e-9)
    row |= metrics
    self._metrics.write(row)
    return row

  def print_line(self, text: str) -> None:
    """Prints a line, with the run's name before it."""
    print(f'{self._name}{text}', flush=True)

  def diagnose_agent(self, metrics: Mapping[str, Any]) -> None:
    """Prints the agent's diagnosis of its settings once, after the warm-up.

    Args:
      metrics: of a round.
    """
    if not _learned(metrics):
      return
    self.latest_metrics = dict(metrics)
    if 'diagnosis' in self.record.data:
      return
    if (found := self.diagnose(metrics)) is not None:
      self.record.put('diagnosis', dict(found.numbers))
      print()  # ends the live line
      self.print_line(found.text)

  def diagnose(self, metrics: Mapping[str, Any]) -> Diagnosis | None:
    """Returns the agent's diagnosis of its settings; None if it has none.

    Args:
      metrics: of a round that made updates.
    """
    return advice.advise(
      self.shared.setup.agent,
      metrics,
      self.progress.episodes,
      self.shared.sample_references,
    )

  def evaluate_base(self) -> None:
    """Evaluates the VLA alone, unless the record has its result."""
    if marks := self.config.marks_left_out():
      self.print_line(
        'No evaluation is made at the minutes '
        f'{", ".join(f"{m:g}" for m in marks)}: the run ends at '
        f'{self.config.minutes(self.config.num_env_steps):g}.'
      )
    if 'base' in self.record.data:
      return
    self.print_line(
      f'Evaluating the VLA in {self.config.num_final_episodes} episodes; '
      f'{COMPILING}.'
    )
    episodes = self._evaluate(
      evaluator_lib.base_policy(self.config.open_loop_steps),
      self.config.num_final_episodes,
    )
    self.record.put_episodes('base', episodes)
    print('base:', self.describe(episodes), flush=True)
    self.shared.stop.raise_if_stopped()

  @property
  def _steps_per_minute(self) -> float:
    return 60 * self.config.task.control_hz

  def checkpoint_steps(self) -> int:
    """Returns the control steps between two checkpoints."""
    return round(self.config.checkpoint_minutes * self._steps_per_minute)

  def eval_schedule(self) -> list[tuple[float, int]]:
    """Returns (robot minutes, control steps) of every evaluation."""
    end = self.config.num_env_steps
    return [
      (minutes, min(round(minutes * self._steps_per_minute), end))
      for minutes in self.config.marks()
    ]

  def evaluate_agent(self, minutes: float, steps: int) -> None:
    """Evaluates the current policy for one entry of `eval_schedule`."""
    final = steps >= self.config.num_env_steps
    count = (
      self.config.num_final_episodes if final else self.config.num_eval_episodes
    )
    due = {
      f'{name}@{minutes:g}': (name, explore)
      for name, explore in (('mean', False), ('exploring', True))
      if f'{name}@{minutes:g}' not in self.record.data
    }
    if due:
      print()  # ends the live line
      self.print_line(
        f'Evaluating without and with exploration, {count} episodes each; '
        'takes about half a minute on two cores.'
      )
    for key, (name, explore) in due.items():
      episodes = self._evaluate(self.policy(explore), count)
      self.record.put_episodes(key, episodes)
      self.print_line(
        f'{minutes:.3g} min, {name} policy: {self.describe(episodes)}'
      )
      self.shared.stop.raise_if_stopped()

  def _evaluate(
    self, policy: evaluator_lib.Policy | evaluator_lib.Steering, count: int
  ) -> Episodes:
    """Evaluates a policy in `count` episodes, or is stopped by a signal."""
    stop = self.shared.stop
    stoppable = evaluator_lib.with_check(policy, stop.raise_if_stopped)
    with Timer(self.seconds, 'evaluation_s'):
      return stop.call(self.shared.evaluator.run, stoppable, count)[0]

  def policy(
    self, explore: bool
  ) -> evaluator_lib.Policy | evaluator_lib.Steering:
    """Returns the current agent as a policy, with or without exploration."""
    return evaluator_lib.agent_policy(
      self.shared.setup.agent,
      self.progress.policy,
      chunk_size=self.config.chunk_size,
      explore=explore,
    )

  def describe(self, episodes: Episodes) -> str:
    """Returns success, median and throughput in one line."""
    return statistics.describe(episodes, self.config.task.control_hz)

  def _expected_meta(self) -> dict[str, Any]:
    return saved_policy.expected_meta(self.meta)


def _learned(metrics: Mapping[str, Any]) -> bool:
  """Returns whether the metrics of a round have the agent's, after warm-up."""
  # A round that made no update has none.
  return metrics['phase'] != 'warm-up' and 'finite' in metrics
