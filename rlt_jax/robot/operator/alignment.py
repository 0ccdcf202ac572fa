"""Checks that an operator's command is close enough to the arm."""

import dataclasses
import math

import numpy as np

from rlt_jax.robot.arm import ArmSpec

_DRIVING = 'You drive.'


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandoverConfig:
  """When an operator's command is applied; entries in `joint_names` order.

  align_tolerance: [A] largest distance between the operator's pose and the
    arm's at which the operator starts to drive.
  keep_tolerance: [A] largest distance at which the operator goes on driving.
    Beyond it the arm holds until they are aligned again; the target of a
    relative device never leads the arm by more.
  align_s: s, for which the poses must stay aligned before the operator drives.
  release_s: s, for which the arm holds before the policy drives again.
  debounce_s: s, in which a second event of the same kind is the bounce of a
    button and ignored; takeover, release and stops are not debounced.
  label_grace_s: s after the beginning of an episode in which success and
    failure are ignored: they were meant for the episode before.
  """

  joint_names: tuple[str, ...]
  joint_units: tuple[str, ...]
  align_tolerance: tuple[float, ...]
  keep_tolerance: tuple[float, ...]
  align_s: float = 0.2
  release_s: float = 0.2
  debounce_s: float = 0.2
  label_grace_s: float = 0.5

  def __post_init__(self):
    num = len(self.joint_names)
    for name in ('joint_units', 'align_tolerance', 'keep_tolerance'):
      if len(getattr(self, name)) != num:
        raise ValueError(
          f'{name} must have an entry per joint, {num}: '
          f'{len(getattr(self, name))}.'
        )
    for i, joint in enumerate(self.joint_names):
      align, keep = self.align_tolerance[i], self.keep_tolerance[i]
      if not (math.isfinite(keep) and 0.0 < align <= keep):
        raise ValueError(
          'align_tolerance must be positive and at most keep_tolerance for '
          f'{joint}: {align} and {keep}.'
        )
    for name in ('align_s', 'release_s', 'debounce_s', 'label_grace_s'):
      value = getattr(self, name)
      if not (math.isfinite(value) and value >= 0.0):
        raise ValueError(f'{name} must be at least 0: {value}.')

  @classmethod
  def for_arm(cls, spec: ArmSpec, **fields) -> 'HandoverConfig':
    """Returns a config with the arm's joints and the fields given."""
    return cls(
      joint_names=spec.joint_names, joint_units=spec.joint_units, **fields
    )


def absolute_command(
  human_pose: np.ndarray | None,
  arm_pose: np.ndarray,
  *,
  driving: bool,
  config: HandoverConfig,
) -> tuple[np.ndarray | None, str]:
  """Returns an absolute device's command [A], or None to hold, and words.

  Args:
    human_pose: [A] the operator's target; None if there is none.
    arm_pose: [A] measured.
    driving: the operator drives already, so that keep_tolerance counts.
    config: tolerances.
  """
  if human_pose is None:
    return None, 'The teleoperator gives no command: the arm holds.'
  fault = _not_finite(human_pose, arm_pose, config)
  if fault:
    return None, fault
  tolerance = config.keep_tolerance if driving else config.align_tolerance
  off, tolerance = human_pose - arm_pose, np.array(tolerance)
  if np.any(np.abs(off) > tolerance):
    return None, misalignment(off, tolerance, config)
  return np.array(human_pose, np.float64), _DRIVING


def relative_command(
  target: np.ndarray | None,
  delta: np.ndarray,
  arm_pose: np.ndarray,
  *,
  config: HandoverConfig,
) -> tuple[np.ndarray | None, str]:
  """Returns a relative device's command [A], or None to hold, and words.

  It continues from the command before. From the measured pose, the arm would
  sag while the hand rests. It leads the arm by keep_tolerance at most, so that
  it does not run away while the arm pushes against a wall.

  Args:
    target: [A] the command before; None at the takeover.
    delta: [A] change of the target.
    arm_pose: [A] measured.
    config: tolerances.
  """
  fault = _not_finite(delta, arm_pose, config)
  if fault:
    return None, fault
  base, keep = arm_pose if target is None else target, config.keep_tolerance
  low, high = arm_pose - np.array(keep), arm_pose + np.array(keep)
  return np.clip(base + delta, low, high), _DRIVING


def misalignment(
  off: np.ndarray, tolerance: np.ndarray, config: HandoverConfig
) -> str:
  """Returns which joints are off by how much, the worst first.

  Args:
    off: [A] the operator's pose minus the arm's.
    tolerance: [A].
    config: names and units.
  """
  ratio = np.abs(off) / tolerance
  worst = [i for i in np.argsort(-ratio, kind='stable') if ratio[i] > 1.0]
  parts = [
    f'{config.joint_names[i]} is off by {off[i]:+.3f} {config.joint_units[i]} '
    f'(at most {tolerance[i]:.3f})'
    for i in worst
  ]
  return 'Not aligned: ' + ', '.join(parts) + '.'


def _not_finite(
  given: np.ndarray, arm_pose: np.ndarray, config: HandoverConfig
) -> str:
  for name, values in (('arm', arm_pose), ('teleoperator', given)):
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
      joints = ', '.join(config.joint_names[i] for i in bad)
      return f'The {name} gives no finite number for {joints}: the arm holds.'
  return ''
