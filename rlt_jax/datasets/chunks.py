"""Chunks of commands from recorded rows, and the unit of an action.

Rows of an episode are cut into runs where a person took over or let go: what
happened between two runs was not recorded, so no chunk and no velocity crosses
it.
"""

from collections.abc import Sequence

import numpy as np

MODES = ('offset', 'increment')  # those of sim.action_space
UNIT_STEPS = 10  # C of the paper's chunks, over which a unit is measured
# A resting joint deviates by next to nothing; dividing by it would turn sensor
# noise into large actions. rad is a third of a millimeter at an arm's tip.
_FLOOR = {'rad': 1e-3, 'm': 2e-4}
_SNAP = 1e-6  # rows; a step this near to a row is that row


def find_runs(flags: np.ndarray) -> np.ndarray:
  """Returns for each row [T] the first row after its run.

  Args:
    flags: bool [T]; a run ends where it flips.
  """
  ends = np.append(np.flatnonzero(np.diff(flags)) + 1, len(flags))
  return ends[np.searchsorted(ends, np.arange(len(flags)), side='right')]


def cut(
  commands: np.ndarray,
  ends: np.ndarray,
  rows: np.ndarray,
  *,
  steps: int,
  rows_per_step: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns command chunks [B, steps, A] of rows [B] and their mask [B, steps].

  Between rows commands are interpolated. Past the end of the run the last one
  is held, and the mask is False.

  Args:
    commands: [T, A].
    ends: [T] of `find_runs`.
    rows: [B] at which chunks start.
    steps: of a chunk.
    rows_per_step: rate of the rows over that of the steps.
  """
  place = rows[:, None] + np.arange(steps) * rows_per_step
  last = (ends[rows] - 1)[:, None]
  valid = place <= last + _SNAP
  place = np.minimum(place, last)
  low = np.floor(place + _SNAP).astype(np.int64)
  share = np.maximum(place - low, 0.0)
  share = np.where(share < 2.0 * _SNAP, 0.0, share)[..., None]
  high = np.minimum(low + 1, last)
  between = commands[low] * (1.0 - share) + commands[high] * share
  return np.where(share > 0.0, between, commands[low]), valid


def differences(
  positions: np.ndarray, ends: np.ndarray, fps: float
) -> np.ndarray:
  """Returns velocities [T, A] (per s): from each row to the one before it.

  As a driver without velocities does on the arm. The first row of a run has the
  velocity of the second; a run of one row has none, 0.

  Args:
    positions: [T, A].
    ends: [T] of `find_runs`.
    fps: rows a second.
  """
  velocity = np.zeros_like(positions)
  velocity[1:] = np.diff(positions, axis=0) * fps
  first = np.flatnonzero(np.diff(ends, prepend=-1))
  second = np.minimum(first + 1, ends[first] - 1)
  velocity[first] = np.where(
    (second > first)[:, None], velocity[second], np.float32(0.0)
  )
  return velocity


def to_steps(commands: np.ndarray, pose: np.ndarray, mode: str) -> np.ndarray:
  """Returns chunks [B, C, A] of commands [B, C, A], not yet in units.

  Args:
    commands: rad, m.
    pose: [B, A] measured at the start of each chunk.
    mode: one of `MODES`: offsets from the pose, or from the command before.
  """
  steps = commands - pose[:, None]
  if mode == 'increment':
    steps = np.diff(steps, axis=1, prepend=np.zeros_like(steps[:, :1]))
  return steps


class UnitFit:
  """Measures the unit of each entry, as `sim.action_space.fit` does.

  One unit is the root mean square of the steps of whole chunks, about zero.
  """

  def __init__(self, units: Sequence[str], mode: str):
    """Starts with nothing.

    Args:
      units: [A] of the joints, 'rad' or 'm'.
      mode: one of `MODES`.
    """
    if mode not in MODES:
      raise ValueError(f'action_mode must be one of {MODES}: {mode!r}.')
    self._mode, self._floor = mode, np.array([_FLOOR[x] for x in units])
    self._sum, self._count = np.zeros(len(units)), 0

  def add(self, commands: np.ndarray, pose: np.ndarray) -> None:
    """Adds whole chunks [B, C, A] and the poses [B, A] at their starts."""
    steps = to_steps(commands, pose, self._mode)
    self._sum += np.square(steps, dtype=np.float64).sum(axis=(0, 1))
    self._count += steps.shape[0] * steps.shape[1]

  def scale(self) -> tuple[float, ...]:
    """Returns [A] rad or m per unit.

    Raises:
      ValueError: no chunk was added.
    """
    if not self._count:
      raise ValueError(
        f'An action unit needs a chunk of {UNIT_STEPS} control steps: no run '
        'of an episode is as long.'
      )
    scale = np.maximum(np.sqrt(self._sum / self._count), self._floor)
    return tuple(float(x) for x in scale.astype(np.float32))
