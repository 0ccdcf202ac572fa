"""A sweep: several seeds of one practice in one process, one folder each.

`workdir/seed-N` is a complete workdir of a run, with checkpoints: the seed can
be evaluated, exported or continued alone. A stopped sweep continues from its
seeds' checkpoints, on any number of devices.
"""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import pathlib
from typing import Any

import jax

from rlt_jax import sharding
from rlt_jax.export import checkpoint
from rlt_jax.reporting import pooled_report, pooling, statistics
from rlt_jax.reporting.metrics import LiveLine
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.signals import StopRequest
from rlt_jax.training import experiment as experiment_lib
from rlt_jax.training import learner as learner_lib
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import multi_seed as multi_seed_lib
from rlt_jax.training import run_folder, summary, value_moments
from rlt_jax.training import setup as setup_lib
from rlt_jax.training import shared as shared_lib
from rlt_jax.training.config import PracticeConfig

_WINDOW = 50  # episodes in the live line


class Sweep:
  """Several runs at once; see `experiments/sweep.py` for its use.

  runs: the record of each seed in its folder. loop: Algorithm 1 of all seeds.
  state: after the newest round; None before the first one.
  """

  def __init__(
    self,
    *,
    workdir: pathlib.Path,
    config: PracticeConfig,
    seeds: Sequence[int],
    resume: bool = False,
    devices: int = 1,
    assets: str = '',
    command: str = '',
  ):
    """Checks settings, assets and folders, and restores checkpoints.

    Args:
      workdir: of the sweep; a seed's own folder must be new, or with `resume`
        one of the sweep. The folders are locked until `close` or the end
        of the process.
      config: of every seed; only `seed` differs.
      seeds: S different seeds.
      resume: continue from the seeds' last checkpoints. A seed that was begun
        and has none begins again, if others have one.
      devices: number of devices to split the seeds over.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the reports.

    Raises:
      ValueError: seeds that repeat or that the devices do not divide, a
        seed's folder that exists, or assets or checkpoints that do not fit.
      OSError: another process writes a folder, or this one cannot.
    """
    self.workdir, self.config, self.seeds = workdir, config, tuple(seeds)
    place = _placing(len(self.seeds), devices)
    folders = [workdir / f'seed-{seed}' for seed in self.seeds]
    resumed = _check_folders(folders, resume)
    self._stop = StopRequest('after this round; then all seeds are saved')
    self._seconds = {'practice_s': 0.0}  # of all seeds together
    self._rounds: list[tuple[int, float]] = []  # updates, s; where it learned
    setup = setup_lib.make(config, assets)
    self.loop = multi_seed_lib.MultiSeed(
      setup.rollout_fns,
      setup.perception,
      setup.agent,
      config,
      self.seeds,
      place,
    )
    shared = shared_lib.make_shared(setup, config, self._stop, assets)
    self.runs = [
      experiment_lib.Experiment(
        workdir=folder,
        config=dataclasses.replace(config, seed=seed),
        shared=shared,
        command=command,
        name=f'seed {seed}',
      )
      for seed, folder in zip(self.seeds, folders, strict=True)
    ]
    self.state: loop_lib.PracticeState | None = None
    self._resumed_steps: list[int | None] = [None] * len(self.seeds)
    self._saved_steps = list(self._resumed_steps)  # of the newest checkpoints
    self._live = LiveLine()
    try:
      self._open(resumed)
    except BaseException:
      self.close()
      raise

  def close(self) -> None:
    """Gives the folders back to other processes."""
    for run in self.runs:
      run.close()

  def save(self) -> None:
    """Writes every seed's last complete round, unless it is written."""
    if self.state is None:
      return
    loop_lib.check_whole(self.state)
    self._keep_seconds()
    for i, run in enumerate(self.runs):
      steps = int(self.state.env_steps[i])
      if steps != self._saved_steps[i]:
        run.save(self.loop.split_one(self.state, i), steps)
        self._saved_steps[i] = steps

  def is_saved(self) -> bool:
    """Returns whether there are checkpoints to resume from."""
    return any(steps is not None for steps in self._saved_steps)

  def practice(self) -> None:
    """Practices all seeds, with the evaluations of a run for each.

    The VLA alone is evaluated once for all seeds.

    Raises:
      KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP came; the last round is
        saved.
      FloatingPointError: a seed's number is no longer finite; the last good
        checkpoints stay as they are.
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
          self._keep_seconds()
        for run in self.runs:
          run.close_metrics()

  def report(self) -> None:
    """Writes every seed's report and a common one.

    Shared seconds are split between the seeds.

    There is no video: `experiments.practice --resume` adds it to a seed.
    """
    total = 0.0
    with self._stop:
      for run in self.runs:
        self._stop.raise_if_stopped()
        print(f'\nseed {run.config.seed}', flush=True)
        seconds = run.all_seconds(self._share_of_seconds())
        summary.write(run, seconds, film=False)
        total += sum(seconds.values())
    name = f'{len(self.runs)} seeds'
    pooled = pooling.pool_seeds(name, [run.workdir for run in self.runs])
    pooled_report.write(self.workdir, [pooled], command=self.runs[0].command)
    print(f'\n{pooling.markdown([pooled])}')
    print(f'\nReport of all seeds: {self.workdir / "report.md"}')
    print(
      f'\n{len(self.runs)} seeds: {self.updates_per_s():.0f} updates per '
      f'second all together, {total:.0f} s, {total / len(self.runs):.0f} s per '
      'seed.',
      flush=True,
    )

  def updates_per_s(self) -> float:
    """Returns critic updates per second of all seeds, in rounds that learned.

    The first of them compiles and is left out; 0 where there is no other.
    """
    rounds = self._rounds[1:]
    seconds = sum(round_s for _, round_s in rounds)
    return sum(updates for updates, _ in rounds) / seconds if rounds else 0.0

  def _practice(self) -> None:
    self._evaluate_base()
    print(f'Starting practice; {experiment_lib.COMPILING}.', flush=True)
    with experiment_lib.Timer(self._seconds, 'compile_and_start_s'):
      self._set_state(self.state or self._stop.call(self.loop.init))
      self._stop.call(self.loop.compile, self.state)
    for run, steps in zip(self.runs, self._resumed_steps, strict=True):
      run.open_metrics(steps)
    # The stopped sweep may have ended before the evaluations of its last round.
    self._evaluate_due()
    self.loop.run(self.state, self._on_round)
    self.save()

  def _open(self, resumed: Sequence[bool]) -> None:
    """Opens the folders and restores the seeds that have a checkpoint."""
    for run, own in zip(self.runs, resumed, strict=True):
      if own:
        run.check_checkpoint()  # before anything compiles
    for run, own in zip(self.runs, resumed, strict=True):
      run.open(own)
    if any(resumed):
      self._restore(resumed)
    for run in self.runs:
      run.write_config()

  def _share_of_seconds(self) -> dict[str, float]:
    """Returns one seed's share of what all seeds spent together."""
    return {k: x / len(self.runs) for k, x in self._seconds.items()}

  def _keep_seconds(self) -> None:
    for run in self.runs:
      run.keep_seconds(self._share_of_seconds())

  def _restore(self, resumed: Sequence[bool]) -> None:
    print(f'Opening the checkpoints; {experiment_lib.COMPILING}.', flush=True)
    with self._stop:
      states = self.loop.split(self._stop.call(self.loop.init))
    for i, run in enumerate(self.runs):
      if resumed[i]:
        found = run.restore(states[i])
        states[i] = found.state
        self._resumed_steps[i] = self._saved_steps[i] = found.env_steps
      else:
        run.print_line('There is no checkpoint yet, this seed begins again.')
    self.state = self.loop.join(states)

  def _set_state(self, state: loop_lib.PracticeState) -> None:
    self.state = state
    agent = self.runs[0].shared.setup.agent
    # On the host: evaluation runs on one device.
    policies, updates = jax.device_get(
      (state.policy, agent.num_updates(state.learner.agent))
    )
    for i, run in enumerate(self.runs):
      run.progress = experiment_lib.Progress(
        env_steps=int(state.env_steps[i]),
        rows=int(state.learner.rows[i]),
        critic_updates=int(updates[i]),
        episodes=loop_lib.to_episodes(state.outcome[i], state.length[i]),
        policy=jax.tree.map(lambda x: x[i], policies),  # noqa: B023
      )

  def _on_round(
    self,
    state: loop_lib.PracticeState,
    metrics: Sequence[multi_seed_lib.RoundMetrics],
  ) -> None:
    updates, checkpoints = self._num_updates(), self._num_checkpoints()
    self._set_state(state)
    active = [x for x in zip(self.runs, metrics, strict=True) if x[1]]
    rows = [run.log_round(run.progress, own) for run, own in active]
    num_updates = self._num_updates() - updates
    round_s = rows[0]['round_s']
    self._seconds['practice_s'] += round_s
    if num_updates:
      self._rounds.append((num_updates, round_s))
    self._show(rows[0], num_updates / round_s)
    for run, own in active:
      run.diagnose_agent(own)
      value_moments.diagnose(
        run, own, functools.partial(self._learner, self.runs.index(run))
      )
    if self._num_checkpoints() > checkpoints:
      self.save()
    self._stop.raise_if_stopped()
    self._evaluate_due()

  def _learner(self, index: int) -> learner_lib.LearnerState:
    """Returns the learner's state of one seed, a copy."""
    return self.loop.split_one(self.state, index).learner

  def _show(self, row: Mapping[str, Any], updates_per_s: float) -> None:
    """Shows all seeds together, with phase and beta ratio of the first."""
    window = -(-_WINDOW // len(self.runs))  # of each seed
    recent = [
      Episodes(*(x[-window:] for x in run.progress.episodes))
      for run in self.runs
    ]
    self._live.show(
      statistics.pool(recent),
      env_steps=sum(run.progress.env_steps for run in self.runs),
      goal_steps=self.config.num_env_steps * len(self.runs),
      round_s=row['round_s'],
      updates_per_s=updates_per_s,
      phase=row['phase'],
      control_hz=self.runs[0].shared.setup.task.spec.control_hz,
      beta_ratio=row.get('beta_ratio'),
      window=window * len(self.runs),
    )

  def _num_updates(self) -> int:
    return sum(run.progress.critic_updates for run in self.runs)

  def _num_checkpoints(self) -> int:
    """Returns how many checkpoints are due for the slowest seed so far."""
    slowest = min(run.progress.env_steps for run in self.runs)
    return slowest // self.runs[0].checkpoint_steps()

  def _evaluate_base(self) -> None:
    first, *others = self.runs
    before = dict(first.seconds)
    with experiment_lib.Timer(self._seconds, 'evaluation_s'):
      first.evaluate_base()
    # They are counted in `_seconds`, which are split between the seeds.
    first.seconds = before
    for run in others:
      run.record.put('base', first.record.data['base'])

  def _evaluate_due(self) -> None:
    for run in self.runs:
      for minutes, steps in run.eval_schedule():
        if run.progress.env_steps >= steps:
          run.evaluate_agent(minutes, steps)


def _check_folders(folders: Sequence[pathlib.Path], resume: bool) -> list[bool]:
  """Returns which seeds have a checkpoint to resume from.

  A sweep that was killed while it saved for the first time may have some
  without; these begin again.

  Raises:
    ValueError: a seed can neither begin nor continue.
  """
  resumed = [resume and checkpoint.latest(x) is not None for x in folders]
  for folder, own in zip(folders, resumed, strict=True):
    begun = any(resumed) and (folder / run_folder.CONFIG_FILE).exists()
    run_folder.check_workdir(folder, own or (resume and not begun))
  return resumed


def _placing(num_seeds: int, devices: int) -> Callable[[Any], Any] | None:
  """Returns a function that spreads S seeds over devices; None for one."""
  if devices < 1 or num_seeds % devices:
    raise ValueError(f'devices must divide the {num_seeds} seeds: {devices}.')
  if devices == 1:
    return None
  return functools.partial(sharding.shard, mesh=sharding.make_mesh(devices))
