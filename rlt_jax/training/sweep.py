"""A sweep: seeds of one practice in one process, a folder a seed.

`workdir/seed-N` is what a run of its own would have left there, checkpoints
included: it can be evaluated, exported, or gone on with alone. A sweep that was
stopped goes on from its seeds' checkpoints, on as many devices as there are
then.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from rlt_jax import sharding
from rlt_jax.export import checkpoint
from rlt_jax.reporting.metrics import LiveLine
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training import experiment as experiment_lib
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import multi_seed as multi_seed_lib
from rlt_jax.training import setup as setup_lib
from rlt_jax.training import summary
from rlt_jax.training.config import PracticeConfig

_SHOWN = 50  # episodes in the live line


class Sweep:
  """Several runs at once; see `experiments/sweep.py` for how it is used."""

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
    """Refuses what does not fit before anything runs.

    Args:
      workdir: of the sweep; a seed's own folder must be new, or with `resume`
        one with a checkpoint.
      config: of every seed, but for its seed.
      seeds: S of them.
      resume: go on from the seeds' last checkpoints.
      devices: that the seeds are spread over.
      assets: folder with vla/ and token/; empty for the shipped ones.
      command: recorded in the reports.

    Raises:
      ValueError: seeds that repeat or that the devices do not divide, a
        seed's folder that exists, or assets or checkpoints that do not fit.
    """
    self.workdir, self.config, self.seeds = workdir, config, tuple(seeds)
    place = _placing(len(self.seeds), devices)
    folders = [workdir / f'seed-{seed}' for seed in self.seeds]
    for folder in folders:
      experiment_lib.check_workdir(folder, resume)
    self._stop = experiment_lib.Stop()
    self._seconds = {'practice_s': 0.0}
    self._learning: list[tuple[int, float]] = []
    cell = setup_lib.make(config, assets)
    self._practice = multi_seed_lib.MultiSeed(
      cell.play, cell.perception, cell.agent, config, self.seeds, place
    )
    evaluator = setup_lib.make_evaluator(cell, config)
    self.runs = [
      experiment_lib.Experiment(
        workdir=folder,
        config=dataclasses.replace(config, seed=seed),
        cell=cell,
        evaluator=evaluator,
        command=command,
        heed_stop=self._stop.heed,
        name=f'seed {seed}',
      )
      for seed, folder in zip(self.seeds, folders, strict=True)
    ]
    # It has no seed: one answer serves all.
    self._references = functools.cache(self.runs[0].reference_samples)
    self.state: loop_lib.PracticeState | None = None
    self._resumed: list[int | None] = [None] * len(self.seeds)
    if resume:
      self._restore()
    for run in self.runs:
      run.write_config()

  def save(self) -> None:
    """Writes every seed's checkpoint, if there was a round."""
    if self.state is None:
      return
    states = self._practice.split(self.state)
    for run, state in zip(self.runs, states, strict=True):
      # One is enough, and S times a replay is much.
      checkpoint.save(run.workdir, state.env_steps, state, run.meta, keep=1)

  def practise(self) -> None:
    """Evaluates the base once, and every seed where a run of its own would.

    Raises:
      KeyboardInterrupt: after the round in which Ctrl-C came.
      FloatingPointError: a seed's number is no longer finite; the last good
        checkpoints stay as they are.
    """
    self._stop.listen()
    self._evaluate_base()
    with summary.Timer(self._seconds, 'compile_and_start_s'):
      self._come_to(self.state or self._practice.init())
    for run, steps in zip(self.runs, self._resumed, strict=True):
      run.open_metrics(steps)
    self._live = LiveLine()
    # A stop may have come between a round and what was due after it.
    self._evaluate_due()
    self._practice.run(self.state, self._on_round)
    self.save()
    self._live.close()
    for run in self.runs:
      run.close_metrics()

  def report(self) -> None:
    """Writes every seed's report; shared seconds are split between the seeds.

    There is no film: `experiments.practice --resume` adds it to a seed.
    """
    total = 0.0
    for run in self.runs:
      print(f'\nseed {run.config.seed}', flush=True)
      seconds = dict(run.seconds)
      for name, shared in self._seconds.items():
        seconds[name] = seconds.get(name, 0.0) + shared / len(self.runs)
      summary.write(run, seconds, film=False)
      total += sum(seconds.values())
    print(
      f'\n{len(self.runs)} seeds: {self.updates_per_s():.0f} updates a second '
      f'all together, {total:.0f} s, {total / len(self.runs):.0f} s a seed.',
      flush=True,
    )

  def updates_per_s(self) -> float:
    """Returns critic updates a second of all seeds in rounds that learned.

    The first of them compiles and is left out; 0 where there is no other.
    """
    rounds = self._learning[1:]
    seconds = sum(spent for _, spent in rounds)
    return sum(made for made, _ in rounds) / seconds if rounds else 0.0

  def _restore(self) -> None:
    for run in self.runs:
      run.check_checkpoint()  # before anything compiles
    like = self._practice.split(self._practice.init())
    found = [run.restore(x) for run, x in zip(self.runs, like, strict=True)]
    self._resumed = [x.env_steps for x in found]
    self.state = self._practice.join([x.state for x in found])

  def _come_to(self, state: loop_lib.PracticeState) -> None:
    self.state = state
    # On the host: evaluation needs no mesh.
    actors, made = jax.device_get(
      (
        state.policy,
        self.runs[0].cell.agent.num_updates(state.learner.agent),
      )
    )
    for i, run in enumerate(self.runs):
      run.progress = experiment_lib.Progress(
        env_steps=int(state.env_steps[i]),
        rows=int(state.learner.rows[i]),
        critic_updates=int(made[i]),
        episodes=loop_lib.to_episodes(state.outcome[i], state.length[i]),
        actor=jax.tree.map(lambda x: x[i], actors),  # noqa: B023
      )

  def _on_round(
    self,
    state: loop_lib.PracticeState,
    metrics: Sequence[multi_seed_lib.RoundMetrics],
  ) -> None:
    before, mark = self._made(), self._checkpoints()
    self._come_to(state)
    active = [x for x in zip(self.runs, metrics, strict=True) if x[1]]
    rows = [run.note(run.progress, own) for run, own in active]
    made, spent = self._made() - before, rows[0]['round_s']
    self._seconds['practice_s'] += spent
    if made:
      self._learning.append((made, spent))
    self._show(rows[0], made / spent)
    for run, own in active:
      run.diagnose_agent(own, self._references)
    if self._checkpoints() > mark:
      self.save()
    self._stop.heed()
    self._evaluate_due()

  def _show(self, row: Mapping[str, Any], updates_per_s: float) -> None:
    """Shows all seeds together; phase and beta ratio are the first one's."""
    share = -(-_SHOWN // len(self.runs))
    recent = zip(*(run.progress.episodes for run in self.runs), strict=True)
    self._live.show(
      Episodes(*(np.concatenate([x[-share:] for x in c]) for c in recent)),
      env_steps=sum(run.progress.env_steps for run in self.runs),
      updates_per_s=updates_per_s,
      phase=row['phase'],
      beta_ratio=row.get('beta_ratio'),
      window=share * len(self.runs),
    )

  def _made(self) -> int:
    return sum(run.progress.critic_updates for run in self.runs)

  def _checkpoints(self) -> int:
    """Returns how many checkpoints the slowest seed has had by now."""
    every = self.config.checkpoint_minutes * experiment_lib.STEPS_PER_MINUTE
    return min(run.progress.env_steps for run in self.runs) // round(every)

  def _evaluate_base(self) -> None:
    first, *others = self.runs
    with summary.Timer(self._seconds, 'evaluation_s'):
      first.evaluate_base()
    # Split between the seeds, as it is everybody's.
    first.seconds.clear()
    for run in others:
      run.record.put('base', first.record.data['base'])

  def _evaluate_due(self) -> None:
    for run in self.runs:
      for minutes, steps in run.marks():
        if run.progress.env_steps >= steps:
          run.evaluate_actor(minutes, steps)


def _placing(width: int, devices: int) -> Callable[[Any], Any] | None:
  """Returns what spreads S seeds over so many devices, None for one."""
  if devices < 1 or width % devices:
    raise ValueError(f'devices must divide the {width} seeds: {devices}.')
  if devices == 1:
    return None
  return functools.partial(sharding.shard, mesh=sharding.make_mesh(devices))
