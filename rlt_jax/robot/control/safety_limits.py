"""The last check of a command: it keeps every limit of the arm's file.

Pure functions. A command that is safe when shortened is shortened, and the
changed entries are marked. A command that cannot be trusted (not finite, too
old, no way back into the workspace) makes the arm hold, with the reason, and
nothing is sent.
"""

import enum
import functools
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.arm import ArmSpec, Reading
from rlt_jax.robot.control import kinematics, workspace


class Limit(enum.IntFlag):
  """Which limit changed an entry of a command; bits of `changed`."""

  RANGE = 1
  STEP = 2
  VELOCITY = 4
  WORKSPACE = 8


class Hold(enum.IntEnum):
  """Why nothing may be sent; the first of these that applies."""

  NO = 0
  NOT_FINITE = 1
  OLD_OBSERVATION = 2
  OLD_ACTION = 3
  CONFLICT = 4  # range, step and velocity leave no command
  OUTSIDE = 5  # no command keeps the tip in its box or brings it nearer


class SafeCommand(NamedTuple):
  """Result for one command.

  command: float64 [A], what may be sent; None: nothing, the arm must hold.
  changed: uint8 [A], bits of `Limit`. verdict: '' or why the arm must hold.
  """

  command: np.ndarray | None
  changed: np.ndarray
  verdict: str


class SafeCommandBatch(NamedTuple):
  """Results for N commands.

  command: float64 [N, A], NaN where the arm must hold. changed: uint8
  [N, A], bits of `Limit`. hold: uint8 [N], of `Hold`.
  """

  command: np.ndarray
  changed: np.ndarray
  hold: np.ndarray


def limit(
  spec: ArmSpec,
  command: np.ndarray,
  *,
  reading: Reading,
  previous: np.ndarray | None,
  now: float,
  obs_time: float,
  period_s: float,
  tip: kinematics.TipFn = kinematics.tip_position,
) -> SafeCommand:
  """Returns the command that may be sent, or why the arm must hold.

  Args:
    spec: the arm's file; every limit is from there.
    command: [A] wanted joint targets.
    reading: the newest one.
    previous: [A] the command sent one period ago; None after a hold, when the
      arm's velocity counts from the measured pose.
    now: s.
    obs_time: s, timestamp of the observation the command was computed from.
    period_s: s between two commands.
    tip: forward kinematics, for an arm that `Chain` cannot describe.

  Raises:
    ValueError: a shape is not [A], period_s is not positive, or a chain of
      the spec breaks its rule.
  """
  if previous is None:
    previous = reading.position
  rows = {}
  for name, value in (
    ('command', command),
    ('position', reading.position),
    ('velocity', reading.velocity),
    ('previous', previous),
  ):
    rows[name] = np.asarray(value, np.float64)[None]
    if rows[name].shape != (1, spec.action_dim):
      raise ValueError(
        f'{name} must have the shape ({spec.action_dim},): {np.shape(value)}.'
      )
  for name, value in (
    ('observed', reading.time),
    ('now', now),
    ('obs_time', obs_time),
  ):
    rows[name] = np.array([value], np.float64)
  batch = limit_batch(spec, **rows, period_s=period_s, tip=tip)
  hold = Hold(int(batch.hold[0]))
  if hold is Hold.NO:
    return SafeCommand(batch.command[0], batch.changed[0], '')
  row = {name: value[0] for name, value in rows.items()}
  return SafeCommand(
    None, batch.changed[0], _describe(spec, hold, row, period_s)
  )


def limit_batch(
  spec: ArmSpec,
  *,
  command: np.ndarray,
  position: np.ndarray,
  velocity: np.ndarray,
  previous: np.ndarray,
  observed: np.ndarray,
  now: np.ndarray,
  obs_time: np.ndarray,
  period_s: float,
  tip: kinematics.TipFn = kinematics.tip_position,
) -> SafeCommandBatch:
  """Does `limit` for N commands: [N, A] poses and [N] times."""
  if not 0.0 < period_s < np.inf:
    raise ValueError(f'period_s must be positive: {period_s}.')
  table = _table(spec)
  hold = _find_untrusted(
    spec,
    arrays=(command, position, velocity, previous),
    observed=observed,
    now=now,
    obs_time=obs_time,
  )
  # Held rows are computed with the stow pose, so that no arithmetic fails.
  held = (hold != Hold.NO)[:, None]
  pose = np.where(held, table.stow, position)
  before = np.where(held, table.stow, previous)
  reach = table.max_velocity * period_s  # of a command, from the one before
  low = np.maximum(table.low, np.maximum(pose - table.max_step, before - reach))
  high = np.minimum(
    table.high, np.minimum(pose + table.max_step, before + reach)
  )
  hold[(hold == Hold.NO) & (low > high).any(axis=1)] = Hold.CONFLICT
  held = (hold != Hold.NO)[:, None]
  wanted, pose, before, low, high = (
    np.where(held, table.stow, x) for x in (command, pose, before, low, high)
  )
  out, changed = _limit_joints(table, wanted, pose, before, reach)
  out = np.clip(out, low, high)
  nearest = np.clip(pose, low, high)
  for chain, joints in zip(spec.chains, table.chains, strict=True):
    kept = workspace.keep_inside(
      chain, out[:, joints], pose[:, joints], nearest[:, joints], tip
    )
    changed[:, joints] |= _mark(kept.joints != out[:, joints], Limit.WORKSPACE)
    out[:, joints] = kept.joints
    hold[kept.lost & (hold == Hold.NO)] = Hold.OUTSIDE
  # Two limits may change an entry and bring it back.
  changed[out == command] = 0
  held = hold != Hold.NO
  out[held], changed[held] = np.nan, 0
  return SafeCommandBatch(out, changed, hold)


def _find_untrusted(
  spec: ArmSpec,
  *,
  arrays: tuple[np.ndarray, ...],
  observed: np.ndarray,
  now: np.ndarray,
  obs_time: np.ndarray,
) -> np.ndarray:
  """Returns a `Hold` [N] for rows with numbers or times not to be trusted."""
  finite = np.ones(len(now), bool)
  for value in arrays:
    finite &= np.isfinite(value).all(axis=1)
  with np.errstate(invalid='ignore', over='ignore'):  # no age: too old
    reading_age, action_age = now - observed, now - obs_time
  return np.select(
    [
      ~finite,
      ~((reading_age >= 0.0) & (reading_age <= spec.max_observation_age_s)),
      ~((action_age >= 0.0) & (action_age <= spec.max_action_age_s)),
    ],
    [Hold.NOT_FINITE, Hold.OLD_OBSERVATION, Hold.OLD_ACTION],
    Hold.NO,
  ).astype(np.uint8)


def _limit_joints(
  table: '_Table',
  wanted: np.ndarray,
  pose: np.ndarray,
  before: np.ndarray,
  reach: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Applies range, step and velocity to commands [N, A].

  Args:
    table: the limits.
    wanted: the commands.
    pose: measured, for the step limit.
    before: the commands one period ago, for the velocity limit.
    reach: [A] of a command from the one before.

  Returns:
    The commands, still to be clipped to all limits, and bits of `Limit`.
  """
  changed = np.zeros(wanted.shape, np.uint8)
  # Range first: a target of 1e308 has no direction to be shortened along.
  out = np.clip(wanted, table.low, table.high)
  changed |= _mark(out != wanted, Limit.RANGE)
  for start, distance, bit in (
    (pose, table.max_step, Limit.STEP),
    (before, reach, Limit.VELOCITY),
  ):
    out, shorter = _shorten(out, start, distance, table.groups)
    changed |= _mark(shorter, bit)
  # Shortening toward `before` may leave the step limit of an arm that lags
  # behind. Each entry that does is then clipped alone.
  for low, high, bit in (
    (table.low, table.high, Limit.RANGE),
    (pose - table.max_step, pose + table.max_step, Limit.STEP),
    (before - reach, before + reach, Limit.VELOCITY),
  ):
    changed |= _mark((out < low) | (out > high), bit)
  return out, changed


def check(spec: ArmSpec) -> None:
  """Raises a ValueError for a chain, or a stow pose, that cannot be used."""
  table = _table(spec)
  for chain, joints in zip(spec.chains, table.chains, strict=True):
    far = float(workspace.outside(chain, table.stow[joints]))
    if not far == 0.0:
      raise ValueError(
        f'stow must keep the tip of {chain.joints[-1]} in its workspace, '
        f'{chain.low} to {chain.high} m: it is {1e3 * far:.0f} mm outside.'
      )


class _Table(NamedTuple):
  """A spec as arrays [A]; groups and chains are indices of joints."""

  low: np.ndarray
  high: np.ndarray
  max_step: np.ndarray
  max_velocity: np.ndarray
  stow: np.ndarray
  groups: tuple[np.ndarray, ...]
  chains: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=8)
def _table(spec: ArmSpec) -> _Table:
  chains = kinematics.chain_joints(spec)
  return _Table(
    np.array(spec.joint_low),
    np.array(spec.joint_high),
    np.array(spec.max_step),
    np.array(spec.max_velocity),
    np.array(spec.stow),
    kinematics.joint_groups(spec),
    chains,
  )


def _mark(entries: np.ndarray, bit: Limit) -> np.ndarray:
  return np.where(entries, np.uint8(bit), np.uint8(0))


def _shorten(
  wanted: np.ndarray,
  start: np.ndarray,
  reach: np.ndarray,
  groups: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, np.ndarray]:
  """Returns commands [N, A] within reach of start, and bool [N, A] which are.

  The joints of a chain are shortened together, so that the tip stays on the
  line it was sent along: clipping each joint alone would bend it.
  """
  over = np.abs(wanted - start) / reach
  for joints in groups:
    over[:, joints] = over[:, joints].max(axis=1, keepdims=True)
  shorter = over > 1.0
  # Within reach, the command itself: a division would round it.
  out = start + (wanted - start) / np.maximum(over, 1.0)
  return np.where(shorter, out, wanted), shorter & (out != wanted)


def _describe(spec: ArmSpec, hold: Hold, row: dict, period_s: float) -> str:
  """Returns the rule and the value that broke it."""
  names = spec.joint_names
  if hold is Hold.NOT_FINITE:
    bad = [
      f'{name} of {joint} is {x}'
      for name in ('command', 'position', 'velocity', 'previous')
      for joint, x in zip(names, row[name], strict=True)
      if not np.isfinite(x)
    ]
    return f'Command and reading must be finite: {", ".join(bad)}.'
  if hold in (Hold.OLD_OBSERVATION, Hold.OLD_ACTION):
    old = hold is Hold.OLD_OBSERVATION
    what = 'observation' if old else 'action'
    age = row['now'] - row['observed' if old else 'obs_time']
    most = spec.max_observation_age_s if old else spec.max_action_age_s
    return f'The {what} must be 0 to {most} s old: {age:.3f} s.'
  if hold is Hold.CONFLICT:
    reach = np.array(spec.max_velocity) * period_s
    pose, before, step = row['position'], row['previous'], spec.max_step
    low = np.max([spec.joint_low, pose - step, before - reach], axis=0)
    high = np.min([spec.joint_high, pose + step, before + reach], axis=0)
    i = int(np.argmax(low > high))
    return (
      f'{names[i]} must stay in {spec.joint_low[i]} to {spec.joint_high[i]}, '
      f'within {step[i]} of the measured pose and {reach[i]:.4g} of the '
      f'command before: measured {pose[i]:.4g}, before {before[i]:.4g}.'
    )
  return (
    'The tip must stay in its workspace, and from outside may only return: '
    f'measured pose {_numbers(row["position"])}, '
    f'command {_numbers(row["command"])}.'
  )


def _numbers(values: np.ndarray) -> str:
  return '[' + ', '.join(f'{x:.4g}' for x in values) + ']'
