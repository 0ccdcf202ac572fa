"""Output of a run during practice: metrics file and live progress line."""

import collections
from collections.abc import Callable, Mapping
import contextlib
import json
import math
import os
import pathlib
import shutil
import sys
import time
from typing import Any, TextIO

import numpy as np

from rlt_jax import files
from rlt_jax.reporting import statistics, tensorboard

METRICS_FILE = 'metrics.jsonl'
# Every key of metrics.jsonl, in simulated practice, sweeps and on an arm; an
# agent of your own may add keys of its own. A row has the keys that apply.
METRICS: Mapping[str, str] = {
  'env_steps': 'control steps so far, all environments together',
  'rows': 'replay rows stored so far',
  'success': 'success rate, 0 to 1, of the last 50 ended episodes',
  'throughput_per_10min': 'successes per 10 minutes of control steps, same '
  'episodes',
  'critic_updates': "gradient updates so far of the agent's critics, or of its "
  'policy where it has no critics',
  'updates_per_s': 'the same per second of wall clock in this row',
  'round_s': 's, wall clock of this round',
  'diverged_worlds': 'simulated worlds of this round whose numbers were no '
  'longer finite; their episodes count as failed, and new ones began',
  'human_steps': 'of the control steps of this round, those that a simulated '
  'person drove',
  'phase': "'warm-up' while the VLA drives, then 'practice'",
  # The agent's, means over the updates of this row.
  'critic_loss': 'squared TD errors summed over the critics (Eq. 3)',
  'actor_loss': 'beta_term - Q of the noisy chunks (Eq. 5)',
  'q_mean': 'mean Q of the rows, return units',
  'target_mean': 'mean TD target of the rows, return units',
  'td_abs': 'mean |TD error|, return units',
  'reference_distance': 'E|a - ref|^2 of mean chunk and reference, summed over '
  'C and A, normalized action units squared',
  'beta_term': 'beta * reference_distance, return units',
  'beta_ratio': 'beta_term / q_mean, no unit',
  'action_rms': "root mean square of the mean chunk's entries, normalized "
  'action units',
  # Of the agents that are baselines.
  'entropy': 'entropy of the squashed policy, nats per action entry',
  'temperature': 'weight of the entropy against the value, return units a nat',
  'conservative_loss': "Cal-QL's term in the loss of the critics",
  'candidate_gain': 'value of the chosen chunk less the mean of the '
  'candidates, return units',
  'finite': '1 where all losses and parameters are finite, else 0',
  # On an arm, where a row is an episode.
  'episode': 'index of the episode in the journal',
  'outcome': 'how the episode ended, by name',
  'steps': 'control steps of the episode that were learned from',
  'dropped_steps': 'control steps of the episode that were left out',
  'policy_version': 'version of the weights that drove the episode',
  'version': 'version of the weights that were published after it',
  'pending_updates': 'updates due for the rows so far but not done yet',
  'update_to_data': 'critic_updates per stored row so far',
  'late_queries': 'VLA queries so far that were answered during a hold',
}


class MetricsWriter:
  """Appends rows to `workdir/metrics.jsonl` and, if installed, TensorBoard.

  The keys are those of `METRICS`. Every row has `env_steps`: it is the axis of
  every plot and the point where a resumed run cuts the file.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    resume_steps: int | None = None,
    resume_version: int | None = None,
  ):
    """Opens the file.

    Args:
      workdir: created if missing.
      resume_steps: `env_steps` of the restored checkpoint; later rows are
        dropped, as the resumed run writes them again. None for a new run.
      resume_version: `version` of the restored checkpoint, for rows that may
        have no control steps; later ones are dropped as well.

    Raises:
      ValueError: a new run in a folder that already has metrics, or a row of
        the old file without `env_steps`.
    """
    self._path = pathlib.Path(workdir) / METRICS_FILE
    self._path.parent.mkdir(parents=True, exist_ok=True)
    if resume_steps is not None:
      _cut(self._path, resume_steps, resume_version)
    elif self._path.exists() and self._path.stat().st_size:
      raise ValueError(f'A new run needs a folder without {self._path}.')
    self._file = self._path.open('ab', buffering=0)
    self._board = tensorboard.Board(self._path.parent, resume_steps)

  def write(self, step: Mapping[str, Any]) -> None:
    """Writes one row of scalars, or nothing; NaN and infinity become null.

    Args:
      step: `env_steps` and any numbers, strings, bools or None; arrays must
        be scalar.

    Raises:
      ValueError: no `env_steps`, or a value that is no scalar.
      OSError: the disk is full; the row may be written again.
    """
    if 'env_steps' not in step:
      raise ValueError(f'A row must have env_steps: {sorted(step)}.')
    row = {name: _scalar(name, value) for name, value in step.items()}
    # Not buffered, since the last rows before a crash help to explain it.
    _append(self._file.fileno(), json.dumps(row, allow_nan=False) + '\n')
    self._board.write(row)

  def sync(self) -> None:
    """Returns when the rows so far are on the disk."""
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Closes the files.

    A full disk is no error here: what failed to be written has said so.
    """
    with contextlib.suppress(OSError):
      self._file.close()
    self._board.close()

  def __enter__(self) -> 'MetricsWriter':
    return self

  def __exit__(self, *unused_exception) -> None:
    self.close()


def read_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the rows of `workdir/metrics.jsonl`; none without the file.

  A last line without its newline was cut off by a crash and is left out.

  Raises:
    ValueError: a whole line that is no JSON object with `env_steps`.
  """
  path = pathlib.Path(workdir) / METRICS_FILE
  rows, damaged = _read(path)
  if damaged:
    number, line = damaged[0]
    raise ValueError(
      f'{path}:{number} must be an object with env_steps: {line[:80]!r}.'
    )
  return rows


def _read(
  path: pathlib.Path,
) -> tuple[list[dict[str, Any]], list[tuple[int, bytes]]]:
  """Returns the rows of a file, and number and content of its other lines."""
  rows, damaged = [], []
  if not path.exists():
    return rows, damaged
  *lines, _ = path.read_bytes().split(b'\n')
  for number, line in enumerate(lines, start=1):
    try:
      row = json.loads(line)
      row['env_steps'] + 0
    except (ValueError, KeyError, TypeError):
      damaged.append((number, line))
    else:
      rows.append(row)
  return rows, damaged


class LiveLine:
  """Shows one line of progress.

  On a terminal the line overwrites itself; in a log file, or on a terminal that
  cannot do so, a line is printed every `interval_s`.
  """

  def __init__(
    self,
    stream: TextIO | None = None,
    *,
    interval_s: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._stream = stream if stream is not None else sys.stdout
    dumb = os.environ.get('TERM') == 'dumb'  # it shows escapes as text
    self._tty = self._stream.isatty() and not dumb
    # Ten redraws per second is as much as an eye follows.
    self._interval_s = 0.1 if self._tty else interval_s
    self._clock = clock
    self._last = -math.inf
    self._pace = _Pace()

  def show(
    self,
    episodes: statistics.Episodes,
    *,
    env_steps: int,
    goal_steps: int,
    round_s: float,
    updates_per_s: float,
    phase: str,
    control_hz: float,
    beta_ratio: float | None = None,
    window: int = 50,
  ) -> None:
    """Shows the state, unless the last line is too recent.

    Args:
      episodes: all so far; the last `window` give success and throughput.
      env_steps: control steps so far, all environments together.
      goal_steps: control steps of the whole practice.
      round_s: wall clock of the round that ended; gives the time left.
      updates_per_s: as in `METRICS`.
      phase: 'warm-up' or 'practice'.
      control_hz: control steps per second.
      beta_ratio: beta * E|a - ref|^2 / E[Q], the cost of leaving the reference
        as a share of the value; None where there is none.
      window: number of episodes, see above.
    """
    left_s = self._pace.left_s(env_steps, goal_steps, round_s)
    now = self._clock()
    if now - self._last < self._interval_s:
      return
    self._last = now
    recent = statistics.Episodes(*(column[-window:] for column in episodes))
    success = throughput = '–'
    if len(recent.success):
      success = f'{np.mean(recent.success):.0%}'
      rate = statistics.throughput_per_10min(recent, control_hz)
      throughput = f'{rate:.0f}'
    done, goal = (
      f'{seconds // 60:02d}:{seconds % 60:02d}'
      for seconds in (int(x / control_hz) for x in (env_steps, goal_steps))
    )
    parts = [
      f'robot {done} of {goal}'
      + (f', {_about(left_s)} left' if left_s else ''),
      phase,
      f'success {success} of last {len(recent.success)}',
      f'{throughput} per 10 min',
      f'{updates_per_s:.0f} updates/s',
    ]
    if beta_ratio is not None:
      parts.append(f'beta ratio {beta_ratio:.2f}')
    self._print(' | '.join(parts))

  def close(self) -> None:
    """Ends the line, so that the next print does not overwrite it."""
    if self._tty and self._last > -math.inf:
      self._stream.write('\n')
      self._stream.flush()

  def _print(self, text: str) -> None:
    if self._tty:
      # A line that wraps could not be overwritten.
      text = text[: shutil.get_terminal_size().columns - 1]
      self._stream.write(f'\r{text}\x1b[K')
    else:
      self._stream.write(text + '\n')
    self._stream.flush()


class _Pace:
  """Estimates the time left from the last rounds, without the evaluations."""

  def __init__(self):
    self._before: int | None = None
    self._recent = collections.deque(maxlen=20)  # s per control step

  def left_s(self, steps: int, goal: int, round_s: float) -> float | None:
    """Adds a round; returns seconds to the goal, None before the second."""
    if self._before is not None and steps > self._before:
      self._recent.append(round_s / (steps - self._before))
    self._before = steps
    if not self._recent:
      return None
    # The median: a round that compiles says nothing about the others.
    return float(np.median(self._recent)) * max(goal - steps, 0)


def _about(seconds: float) -> str:
  """Returns a duration in its larger unit."""
  if seconds < 90.0:
    return f'{seconds:.0f} s'
  minutes = seconds / 60.0
  return f'{minutes:.0f} min' if minutes < 90.0 else f'{minutes / 60.0:.1f} h'


def _scalar(name: str, value: Any) -> Any:
  if value is None or isinstance(value, str | bool | int):
    return value
  array = np.asarray(value)
  if array.shape or array.dtype.kind == 'O':
    raise ValueError(f'{name} must be a scalar: {value!r}.')
  item = array.item()
  return item if math.isfinite(item) else None


def _append(fd: int, line: str) -> None:
  """Appends all of a line or, at any exception, nothing of it."""
  size, rest = os.fstat(fd).st_size, memoryview(line.encode())
  try:
    while rest:
      rest = rest[os.write(fd, rest) :]
  except BaseException:
    os.ftruncate(fd, size)
    raise


def _cut(path: pathlib.Path, env_steps: int, version: int | None) -> None:
  """Drops rows beyond `env_steps` or a version, in one rename.

  Raises:
    ValueError: a damaged line among the rows that stay. At the end, where a
      crash damages lines, they are dropped as well.
  """
  rows, damaged = _read(path)
  limit = math.inf if version is None else version
  kept = [
    row
    for row in rows
    # Older versions wrote no `version`.
    if row['env_steps'] <= env_steps and row.get('version', 0) <= limit
  ]
  if damaged and damaged[0][0] <= len(kept):
    read_metrics(path.parent)  # raises
  last = kept[-1]['env_steps'] if kept else 0
  if damaged and last < env_steps:
    print(
      f'{path} is damaged from line {damaged[0][0]} on: there are no metrics '
      f'between the control steps {last} and {env_steps}.',
      file=sys.stderr,
    )
  lines = ''.join(json.dumps(row) + '\n' for row in kept)
  files.write_atomically(path, lines)
