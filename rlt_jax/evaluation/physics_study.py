"""Evaluates policies in other physics, on the same start states.

An engine is MJX or C MuJoCo with changes to the task's settings, such as a
finer timestep. A world is a change to the task itself, such as its clearance.
"""

from collections.abc import Callable, Mapping, Sequence
import itertools
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import files, signals
from rlt_jax.evaluation import bench_rollout
from rlt_jax.evaluation.evaluator import Evaluator, Policy
from rlt_jax.reporting import statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.tasks.task import Bench, Task

ENGINES = ('mjx', 'mujoco')
_POLICIES = 2  # the VLA and the agent
FORCE_EDGES = (0, 10, 20, 40, 80, 160, float('inf'))  # N


class Variant(NamedTuple):
  """One entry of --engine or --world.

  text: as given. engine: one of ENGINES; '' for a world. changes: settings,
  'field=value'.
  """

  text: str
  engine: str
  changes: tuple[str, ...]


def parse_engine(text: str) -> Variant:
  """Reads 'mjx' or 'mujoco', then changes, separated by spaces.

  Raises:
    ValueError: another first word.
  """
  name, *changes = text.split() or ['']
  if name not in ENGINES:
    raise ValueError(f'An engine must begin with one of {ENGINES}: {text!r}.')
  return Variant(text, name, tuple(changes))


def parse_world(text: str) -> Variant:
  """Reads changes separated by spaces; 'nominal' is no change."""
  changes = () if text == 'nominal' else tuple(text.split())
  return Variant(text, '', changes)


def describe_cost(
  worlds: Sequence[Variant], engines: Sequence[Variant], episodes: int
) -> str:
  """Returns a line that says about how long a study will take."""
  cells = _POLICIES * len(worlds) * len(engines)
  return (
    f'Evaluating VLA and agent in {cells} cells of {episodes:,} episodes, less '
    'what the file has; 100 episodes take a minute or two on two cores.'
  )


def changed(config: Any, *variants: Variant) -> Any:
  """Returns a config with the changes of an engine and of a world.

  All changes apply at once, since some settings only fit together.
  """
  changes = [change for variant in variants for change in variant.changes]
  return config_lib.override(config, changes)


def rollout_of(
  engine: Variant, task: Task, rollout_fns: RolloutFns
) -> RolloutFns:
  """Returns the rollout of an engine; `rollout_fns` is MJX's of the task."""
  if engine.engine == 'mjx':
    return rollout_fns
  return bench_rollout.make(task, rollout_fns)


def measure(
  evaluator: Evaluator, policy: Policy, episodes: int, bench: Bench | None
) -> dict[str, list[float]]:
  """Runs a policy; returns a row per episode in columns.

  Args:
    evaluator: of the engine and world.
    policy: maps features to chunks.
    episodes: M.
    bench: measures overlaps; None leaves them out.

  Returns:
    outcome and steps as in `statistics.to_plain`; force_n, the largest of the
    episode, N, if the task's state has it; overlap_mm, the deepest at the end
    of any control step.
  """
  final, kept = evaluator.trace(policy, episodes, film=episodes)
  columns = statistics.to_plain(
    statistics.make_episodes(final.outcome, final.steps)
  )
  for episode, states in enumerate(kept):
    states.append(jax.tree.map(lambda x: x[episode], final))  # noqa: B023
  if hasattr(kept[0][0], 'force'):
    columns['force_n'] = [
      round(float(max(state.force for state in states)), 2) for states in kept
    ]
  if bench is not None:
    columns['overlap_mm'] = [_deepest(bench, states) for states in kept]
  return columns


def _deepest(bench: Bench, states: Sequence[Any]) -> float:
  """Returns the deepest overlap of an episode, mm."""
  deepest = 0.0
  for state in states:
    # Without a force nothing touches.
    if getattr(state, 'force', 1.0) > 0.0:
      bench.place(state)
      deepest = max(deepest, bench.overlap())
  return round(1e3 * deepest, 3)


class Row(NamedTuple):
  """A cell of the study: texts of world, engine and policy, and its columns.

  commit: of the code that ran it; a study may go on with another.
  """

  world: str
  engine: str
  policy: str
  columns: dict[str, list[float]]
  commit: str = ''


class Table:
  """The rows so far, in a JSON file that is written after each."""

  def __init__(self, path: pathlib.Path, head: Mapping[str, Any]):
    """Reads the rows of an interrupted study.

    Args:
      path: of the file; its folder must exist.
      head: what all rows share. 'episodes', 'seed' and 'policy', a sentence on
        what is evaluated, must not change.

    Raises:
      ValueError: the file is of another study.
      OSError: the file cannot be written.
    """
    self._path, self._head = path, dict(head)
    self.rows: list[Row] = []
    if path.exists():
      stored = files.read_json(path)
      for name in ('episodes', 'seed', 'policy'):
        if stored.get(name) != head[name]:
          raise ValueError(
            f'{path} can go on only with its own {name}, {stored.get(name)}: '
            f'{head[name]}.'
          )
      self.rows = [Row(**row) for row in stored['rows']]
    files.check_writable(path)

  def has(self, world: str, engine: str, policy: str) -> bool:
    """Returns whether a cell is there."""
    return (world, engine, policy) in {row[:3] for row in self.rows}

  def put(self, row: Row) -> None:
    """Adds a row and writes the file."""
    self.rows.append(row)
    self._write()

  def markdown(self, outcomes: Sequence[str]) -> str:
    """Returns a table for each world; `outcomes` are the task's names."""
    parts = []
    for world in dict.fromkeys(row.world for row in self.rows):
      lines = [describe(r, outcomes) for r in self.rows if r.world == world]
      parts += [f'### {world}', '', HEADER, *lines, '']
    return '\n'.join(parts)

  def _write(self) -> None:
    rows = [row._asdict() for row in self.rows]
    files.write_atomically(self._path, json.dumps(self._head | {'rows': rows}))


def describe(row: Row, outcomes: Sequence[str]) -> str:
  """Returns a row of the table in Markdown; see `HEADER`."""
  columns = row.columns
  episodes = statistics.from_plain(columns)
  wins = int(episodes.success.sum())
  low, high = statistics.wilson(wins, len(episodes.steps))
  steps = episodes.steps[episodes.success]
  cells = [
    row.policy,
    row.engine,
    f'{wins / len(episodes.steps):.2f} ({low:.2f}–{high:.2f})',
    f'{np.median(steps):.0f}' if wins else '–',
    _failures(episodes, outcomes),
    _histogram(columns.get('force_n')),
    _largest(columns.get('force_n'), '{:.0f}'),
    _largest(columns.get('overlap_mm'), '{:.2f}'),
  ]
  return f'| {" | ".join(cells)} |'


_EDGES = ' / '.join(
  f'{low:g}–{high:g}' if np.isfinite(high) else f'over {low:g}'
  for low, high in zip(FORCE_EDGES[:-1], FORCE_EDGES[1:], strict=True)
)
HEADER = (
  '| policy | engine | success (95 %) | median steps | failures | '
  f'episodes by largest force, N: {_EDGES} | largest force, N | '
  'deepest overlap, mm |\n' + '|---' * 8 + '|'
)


def _failures(episodes: Episodes, outcomes: Sequence[str]) -> str:
  codes, counts = np.unique(
    episodes.outcome[~episodes.success], return_counts=True
  )
  return ', '.join(
    f'{count} {outcomes[code]}'
    for code, count in zip(codes, counts, strict=True)
  )


def _histogram(values: Sequence[float] | None) -> str:
  if values is None:
    return '–'
  counts, _ = np.histogram(values, FORCE_EDGES)
  return ' / '.join(map(str, counts))


def _largest(values: Sequence[float] | None, form: str) -> str:
  return '–' if values is None else form.format(max(values))


Build = Callable[[Variant, Variant], tuple[Evaluator, Bench | None]]


def run(
  build: Build,
  policies: Mapping[str, Policy],
  worlds: Sequence[Variant],
  engines: Sequence[Variant],
  episodes: int,
  table: Table,
  commit: str = '',
) -> None:
  """Runs every cell that the table has not yet.

  Args:
    build: (world, engine) -> its evaluator and a bench of the world.
    policies, worlds, engines, episodes: the study.
    table: gets the rows.
    commit: of the code, for the rows.

  Raises:
    KeyboardInterrupt: a signal came; the cell in hand is given up at once.
  """
  for world, engine in itertools.product(worlds, engines):
    missing = [
      name for name in policies if not table.has(world.text, engine.text, name)
    ]
    if not missing:
      continue
    evaluator, bench = signals.call(build, world, engine)
    for name in missing:
      print(f'{world.text}, {engine.text}, {name}', flush=True)
      columns = signals.call(
        measure, evaluator, policies[name], episodes, bench
      )
      table.put(Row(world.text, engine.text, name, columns, commit))
