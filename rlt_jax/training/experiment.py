"""The record of a run in its workdir: settings, metrics and evaluations.

`practice_run` drives one run and `sweep` several; both use this record.
"""

from collections.abc import Callable, Mapping
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.agents.agent import Diagnosis
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.export import checkpoint
from rlt_jax.reporting import provenance, statistics
from rlt_jax.reporting.metrics import MetricsWriter
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import config as config_module
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Params

_WINDOW = 50  # episodes in the running figures
_REFERENCE_SAMPLES = 8  # R, see `Shared`


class Progress(NamedTuple):
  """Progress of a run.

  env_steps, rows, critic_updates: so far. episodes: the last ended ones.
  policy: params that drive the next round.
  """

  env_steps: int
  rows: int
  critic_updates: int
  episodes: Episodes
  policy: Params


class Timer:
  """Adds the seconds of a `with` block to one entry of a table."""

  def __init__(self, table: dict[str, float], name: str):
    self._table, self._name = table, name

  def __enter__(self) -> None:
    self._start = time.perf_counter()

  def __exit__(self, *unused_exception) -> None:
    spent = time.perf_counter() - self._start
    self._table[self._name] = self._table.get(self._name, 0.0) + spent


class Record:
  """Evaluations in a JSON file, so that a resumed run has them too."""

  def __init__(self, path: pathlib.Path):
    """Reads the file if it exists."""
    self._path = path
    self.data: dict[str, Any] = {}
    if path.exists():
      self.data = json.loads(path.read_text())

  def put(self, name: str, value: Any) -> None:
    """Stores a JSON value under a name."""
    self.data[name] = value
    files.write_atomically(self._path, json.dumps(self.data))

  def put_episodes(self, name: str, episodes: Episodes) -> None:
    """Stores episodes under a name."""
    self.put(name, statistics.to_plain(episodes))

  def episodes(self, name: str) -> Episodes:
    """Returns episodes stored under a name."""
    return statistics.from_plain(self.data[name])


class Shared(NamedTuple):
  """Objects shared by all runs of one process.

  setup: task, VLA with its token, and agent. evaluator: runs policies.
  raise_if_stopped: called between two evaluations; may raise KeyboardInterrupt.
  sample_references: () -> the VLA's chunks [R, B, C, A], sampled R times at the
    same B states; the same for every seed, computed once.
  demonstrations: what the VLA learned from; None if that is not known.
  """

  setup: TaskSetup
  evaluator: evaluator_lib.Evaluator
  raise_if_stopped: Callable[[], None]
  sample_references: Callable[[], np.ndarray]
  demonstrations: Episodes | None


def make_shared(
  setup: TaskSetup,
  config: PracticeConfig,
  raise_if_stopped: Callable[[], None],
  assets: str = '',
) -> Shared:
  """Builds the objects shared by the runs of one process.

  Args:
    setup, raise_if_stopped: see `Shared`.
    config: of the runs; its seed is not used.
    assets: folder with vla/ and token/; empty for the shipped ones.
  """
  evaluator = setup_lib.make_evaluator(setup, config)

  @functools.cache
  def sample_references() -> np.ndarray:
    # The evaluator's batch size, so that nothing new is compiled.
    worlds = evaluator.initial_states(evaluator.sizes.large)
    chunks = [
      setup.perception.perceive(worlds, jax.random.PRNGKey(i)).reference
      for i in range(_REFERENCE_SAMPLES)
    ]
    return np.stack(chunks)[:, :, : config.chunk_size]

  return Shared(
    setup=setup,
    evaluator=evaluator,
    raise_if_stopped=raise_if_stopped,
    sample_references=sample_references,
    demonstrations=assets_lib.demonstrations(assets, config.vla),
  )


def check_workdir(workdir: pathlib.Path, resume: bool) -> None:
  """Raises ValueError if a run can neither start nor continue."""
  if workdir.exists() and not resume:
    raise ValueError(
      f'workdir must be new (or pass --resume to continue): {workdir}.'
    )
  if resume and checkpoint.latest(workdir) is None:
    raise ValueError(
      f'A run needs a checkpoint to be opened or resumed: {workdir} has none.'
    )


def read_config(workdir: pathlib.Path) -> PracticeConfig:
  """Returns the settings of the run in a workdir.

  Raises:
    ValueError: settings of another version, named.
    OSError: no run in the workdir.
  """
  path = workdir / 'config.json'
  if not path.is_file():
    raise FileNotFoundError(
      f'workdir must be the folder of a run: {workdir} has no config.json.'
    )
  try:
    return config_module.read_config(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path} cannot be used: {error}') from error


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
    """Reads the files in the workdir; writes nothing.

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
    self.record = Record(workdir / 'evaluations.json')
    self.meta = checkpoint.make_meta(
      json.loads(config_lib.to_json(config)),
      {
        'vla': shared.setup.embedder.spec.vla_fingerprint,
        'token': shared.setup.embedder.spec.token_fingerprint,
      },
    )
    self.progress: Progress | None = None
    self.latest_metrics: dict[str, Any] = {}  # of the agent, after the warm-up
    self.seconds: dict[str, float] = {}
    self._name = f'{name}: ' if name else ''
    self._updates_before: int | None = None
    self._metrics: MetricsWriter | None = None

  def check_checkpoint(self) -> None:
    """Raises ValueError if it is of other settings or assets, named."""
    checkpoint.find(self.workdir, expected_meta=self._expected_meta())

  def restore(self, like: Any) -> checkpoint.Restored:
    """Returns the newest checkpoint, with the structure of `like`.

    Raises:
      ValueError: it is of other settings or assets, named.
    """
    restored = checkpoint.restore(
      self.workdir, like, expected_meta=self._expected_meta()
    )
    self.print_line(f'Resumed at {restored.env_steps} control steps.')
    return restored

  def save(self, state: Any, env_steps: int, **kwargs: Any) -> None:
    """Writes a checkpoint; see `checkpoint.save` for `kwargs`."""
    checkpoint.save(self.workdir, env_steps, state, self.meta, **kwargs)

  def write_config(self) -> None:
    """Makes the workdir, with the settings in it."""
    self.workdir.mkdir(parents=True, exist_ok=True)
    text = config_lib.to_json(self.config) + '\n'
    (self.workdir / 'config.json').write_text(text)

  def open_metrics(self, resume_steps: int | None) -> None:
    """Opens metrics.jsonl; `log_round` writes to it. See MetricsWriter."""
    self._metrics = MetricsWriter(self.workdir, resume_steps=resume_steps)

  def close_metrics(self) -> None:
    """Closes metrics.jsonl."""
    self._metrics.close()

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
    updates = progress.critic_updates
    before = updates if self._updates_before is None else self._updates_before
    row['critic_updates'] = self._updates_before = updates
    row['updates_per_s'] = (updates - before) / max(metrics['round_s'], 1e-9)
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
    # A round that made no update has no metrics of the agent.
    if metrics['phase'] == 'warm-up' or 'finite' not in metrics:
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
    diagnose = self.shared.setup.agent.diagnose
    if diagnose is None:
      return None
    return diagnose(metrics, self.shared.sample_references())

  def evaluate_base(self) -> None:
    """Evaluates the VLA alone, unless the record has its result."""
    if 'base' in self.record.data:
      return
    self.print_line(
      f'Evaluating the VLA in {self.config.num_final_episodes} episodes; '
      'compiling first, which takes about a minute where nothing is cached.'
    )
    with Timer(self.seconds, 'evaluation_s'):
      episodes, _ = self.shared.evaluator.run(
        evaluator_lib.base_policy(self.config.open_loop_steps),
        self.config.num_final_episodes,
      )
    self.record.put_episodes('base', episodes)
    print('base:', self.describe(episodes), flush=True)
    self.shared.raise_if_stopped()

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
      for minutes in (*self.config.eval_at_minutes, self.config.minutes(end))
    ]

  def evaluate_agent(self, minutes: float, steps: int) -> None:
    """Evaluates the current policy for one entry of `eval_schedule`."""
    final = steps >= self.config.num_env_steps
    count = (
      self.config.num_final_episodes if final else self.config.num_eval_episodes
    )
    for name, explore in (('mean', False), ('exploring', True)):
      key = f'{name}@{minutes:g}'
      if key in self.record.data:
        continue
      with Timer(self.seconds, 'evaluation_s'):
        episodes, _ = self.shared.evaluator.run(self.policy(explore), count)
      self.record.put_episodes(key, episodes)
      print()  # ends the live line
      self.print_line(
        f'{minutes:.3g} min, {name} policy: {self.describe(episodes)}'
      )
      self.shared.raise_if_stopped()

  def policy(self, explore: bool) -> evaluator_lib.Policy:
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
    return {name: self.meta[name] for name in ('config', 'fingerprints')}
