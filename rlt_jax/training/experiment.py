"""What one run keeps in its workdir: settings, metrics, evaluations, report.

Who practises is elsewhere: `session` drives one run, `sweep` several at once.
"""

from collections.abc import Callable, Mapping
import json
import pathlib
import signal
import threading
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.export import checkpoint
from rlt_jax.reporting import provenance, statistics
from rlt_jax.reporting.metrics import MetricsWriter
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.training import setup as setup_lib
from rlt_jax.training import summary
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Params

STEPS_PER_MINUTE = 60 * insertion.CONTROL_HZ
_WINDOW = 50  # episodes in the running figures


class Progress(NamedTuple):
  """How far a run is.

  env_steps, rows, critic_updates: so far. episodes: ended so far, as many as
  are kept. actor: params that drive the next round.
  """

  env_steps: int
  rows: int
  critic_updates: int
  episodes: statistics.Episodes
  actor: Params


class Stop:
  """Ctrl-C, taken at the end of a round: a whole state can then be saved."""

  def __init__(self):
    self._asked = False

  def listen(self) -> None:
    """Takes Ctrl-C from now on, if this is the main thread."""
    if threading.current_thread() is threading.main_thread():
      signal.signal(signal.SIGINT, self._ask)

  def heed(self) -> None:
    """Raises KeyboardInterrupt once Ctrl-C was pressed."""
    if self._asked:
      raise KeyboardInterrupt

  def _ask(self, signum: int, frame: Any) -> None:
    del signum, frame
    self.heed()
    self._asked = True
    print('\nStopping after this round; Ctrl-C again stops now.', flush=True)


def check_workdir(workdir: pathlib.Path, resume: bool) -> None:
  """Raises ValueError where a run can neither begin nor go on."""
  if workdir.exists() and not resume:
    raise ValueError(
      f'workdir must be new (or pass --resume to go on): {workdir}.'
    )
  if resume and checkpoint.latest(workdir) is None:
    raise ValueError(f'--resume needs a checkpoint in the workdir: {workdir}.')


class Experiment:
  """One run's record. `progress` is set by whoever practises."""

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    cell: setup_lib.TaskSetup,
    evaluator: evaluator_lib.Evaluator,
    command: str,
    heed_stop: Callable[[], None],
    name: str = '',
  ):
    """Reads what the workdir has already; writes nothing.

    Args:
      workdir: of the run.
      config: the run's settings.
      cell, evaluator: shared by all runs of one process.
      command: recorded in the report.
      heed_stop: called between two evaluations; may raise KeyboardInterrupt.
      name: goes before printed lines, where several runs print.
    """
    self.workdir, self.config, self.command = workdir, config, command
    # Now, not when the report is written: the code may move on meanwhile.
    self.commit = provenance.commit()
    self.cell, self.evaluator = cell, evaluator
    self.record = summary.Record(workdir / 'evaluations.json')
    self.meta = checkpoint.make_meta(
      json.loads(config_lib.to_json(config)),
      {
        'vla': cell.embedder.spec.vla_fingerprint,
        'token': cell.embedder.spec.token_fingerprint,
      },
    )
    self._wanted = {x: self.meta[x] for x in ('config', 'fingerprints')}
    self.progress: Progress | None = None
    self.seconds: dict[str, float] = {}
    self._heed = heed_stop
    self._name = f'{name}: ' if name else ''
    self._made: int | None = None
    self._metrics: MetricsWriter | None = None

  def check_checkpoint(self) -> None:
    """Raises ValueError if it is of other settings or assets, named."""
    checkpoint.find(self.workdir, expected_meta=self._wanted)

  def restore(self, like: Any) -> checkpoint.Restored:
    """Returns the newest checkpoint, with the structure of `like`.

    Raises:
      ValueError: it is of other settings or assets, named.
    """
    restored = checkpoint.restore(
      self.workdir, like, expected_meta=self._wanted
    )
    steps = restored.env_steps
    print(f'{self._name}Resumed at {steps} control steps.', flush=True)
    return restored

  def write_config(self) -> None:
    """Makes the workdir, with the settings in it."""
    self.workdir.mkdir(parents=True, exist_ok=True)
    text = config_lib.to_json(self.config) + '\n'
    (self.workdir / 'config.json').write_text(text)

  def open_metrics(self, resume_steps: int | None) -> None:
    """Opens metrics.jsonl; `note` writes to it. See MetricsWriter."""
    self._metrics = MetricsWriter(self.workdir, resume_steps=resume_steps)

  def close_metrics(self) -> None:
    """Closes metrics.jsonl."""
    self._metrics.close()

  def note(
    self, progress: Progress, metrics: Mapping[str, Any]
  ) -> dict[str, Any]:
    """Writes down a round; returns its row.

    Args:
      progress: after the round.
      metrics: of the round, with its 'phase' and 'round_s'.
    """
    self.progress = progress
    recent = statistics.Episodes(*(x[-_WINDOW:] for x in progress.episodes))
    row = {'env_steps': progress.env_steps, 'rows': progress.rows}
    if len(recent.success):
      row['success'] = float(recent.success.mean())
      row['throughput_per_10min'] = statistics.throughput_per_10min(recent)
    made = progress.critic_updates
    before = made if self._made is None else self._made
    row['critic_updates'] = self._made = made
    row['updates_per_s'] = (made - before) / max(metrics['round_s'], 1e-9)
    row |= metrics
    self._metrics.write(row)
    return row

  def diagnose_agent(
    self,
    metrics: Mapping[str, Any],
    references: Callable[[], np.ndarray] | None = None,
  ) -> None:
    """Lets the agent say once, after the warm-up, if its settings suit.

    Args:
      metrics: of a round.
      references: of `reference_samples`, where somebody has them already.
    """
    diagnose = self.cell.agent.diagnose
    # A round that made no update has no metrics of the agent.
    if diagnose is None or metrics['phase'] == 'warm-up':
      return
    if 'finite' not in metrics:
      return
    self.record.latest_metrics = dict(metrics)
    if 'diagnosis' in self.record.data:
      return
    found = diagnose(metrics, (references or self.reference_samples)())
    self.record.put('diagnosis', dict(found.numbers))
    print(f'\n{self._name}{found.text}', flush=True)

  def reference_samples(self, samples: int = 8) -> np.ndarray:
    """Returns references [samples, B, C, A], sampled at the same B states."""
    # As many states as are seen at once anyway: nothing new to compile.
    worlds = self.evaluator.initial_states(self.evaluator.sizes.large)
    chunks = [
      self.cell.perception.perceive(worlds, jax.random.PRNGKey(i)).reference
      for i in range(samples)
    ]
    return np.stack(chunks)[:, :, : self.config.chunk_size]

  def evaluate_base(self) -> None:
    """Evaluates the VLA alone, unless that is known."""
    if 'base' in self.record.data:
      return
    with summary.Timer(self.seconds, 'evaluation_s'):
      episodes, _ = self.evaluator.run(
        evaluator_lib.base_policy(self.config.open_loop_steps),
        self.config.num_final_episodes,
      )
    self.record.put_episodes('base', episodes)
    print('base:', statistics.describe(episodes), flush=True)
    self._heed()

  def marks(self) -> list[tuple[float, int]]:
    """Returns (robot minutes, control steps) of every evaluation to come."""
    end = self.config.num_env_steps
    return [
      (minutes, min(round(minutes * STEPS_PER_MINUTE), end))
      for minutes in (*self.config.eval_at_minutes, self.config.minutes(end))
    ]

  def evaluate_actor(self, minutes: float, steps: int) -> None:
    """Evaluates the present actor as that of one of the `marks`."""
    final = steps >= self.config.num_env_steps
    count = (
      self.config.num_final_episodes if final else self.config.num_eval_episodes
    )
    for name, explore in (('mean', False), ('exploring', True)):
      key = f'{name}@{minutes:g}'
      if key in self.record.data:
        continue
      policy = self.actor(explore)
      with summary.Timer(self.seconds, 'evaluation_s'):
        episodes, _ = self.evaluator.run(policy, count)
      self.record.put_episodes(key, episodes)
      print(
        f'\n{self._name}{minutes:g} min, {name} policy:',
        statistics.describe(episodes),
        flush=True,
      )
      self._heed()

  def actor(self, explore: bool) -> evaluator_lib.Policy:
    """Returns the present actor as a policy."""
    return evaluator_lib.agent_policy(
      self.cell.agent,
      self.progress.actor,
      chunk_size=self.config.chunk_size,
      explore=explore,
    )
