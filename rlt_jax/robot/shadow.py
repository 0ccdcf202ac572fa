"""Shadow mode: everything runs, and nothing is sent to the arm.

A person moves the arm, by hand or with a program of their own. At each control
step the loop decides what it would send, from the pose and pictures of that
moment, and the log compares it with where the arm is one step later: with what
the person did.
"""

from collections.abc import Callable
import contextlib
import itertools
import json
import os
import pathlib
from typing import Any

import numpy as np

from rlt_jax import files
from rlt_jax.robot.arm import Arm, ArmSpec, Reading
from rlt_jax.robot.control import kinematics
from rlt_jax.robot.control.telemetry import LoopStep
from rlt_jax.robot.shadow_rows import ShadowRow, ShadowRows

FILE = 'shadow.npz'
_MAX_GAP = 2.5  # control periods between two steps that are compared


class ShadowArm:
  """An arm that is read and never commanded; see `rlt_jax.robot.arm.Arm`.

  asked: [A] what would have been sent at this control step, NaN for nothing.
  """

  def __init__(self, arm: Arm):
    """Takes the arm, connected or not."""
    self.spec = arm.spec
    self._arm = arm
    self._measured = np.full(arm.spec.action_dim, np.nan)
    self.asked = self._measured.copy()

  def connect(self) -> None:
    """Connects the arm."""
    self._arm.connect()

  def observe(self) -> Reading:
    """Returns the arm's reading; a new control step begins."""
    self.asked = np.full_like(self._measured, np.nan)
    reading = self._arm.observe()
    self._measured = np.array(reading.position, np.float64)
    return reading

  def command(self, target: np.ndarray) -> np.ndarray:
    """Notes the target [A]; returns the measured pose, where the arm stays."""
    self.asked = np.array(target, np.float64)
    return self._measured.copy()

  def hold(self) -> None:
    """Sends nothing."""

  def stow(self) -> bool:
    """Sends nothing; True, so that nothing waits for the stow pose."""
    return True

  def disable(self) -> None:
    """Sends nothing."""

  def disconnect(self) -> None:
    """Disconnects the arm, which keeps its power if it has any."""
    self._arm.disconnect()


class ShadowLog:
  """Notes what would have been sent; `write` compares and saves it."""

  def __init__(
    self, arm: ShadowArm, period_s: float, folder: str | os.PathLike[str]
  ):
    """Goes on after the rows of a run that was ended before.

    Args:
      arm: of the run.
      period_s: control period, s.
      folder: of the run; its `shadow_rows.FILE` has each step once it is noted.

    Raises:
      ValueError: that file is damaged.
    """
    self._arm, self._period_s = arm, period_s
    self._folder, self._file = pathlib.Path(folder), ShadowRows(folder)

  def on_step(self, step: LoopStep) -> None:
    """Notes a control step; call it after each one."""
    self._file.add(ShadowRow.of(step, self._arm.asked))

  def compare(self) -> dict[str, Any]:
    """Returns the distances from the person, for JSON.

    steps: control steps. sent: of them, those in which something would have
    been sent. by_source: of these, by driver. limited: share of these that the
    safety limits changed. holds: reason -> steps in which the arm would have
    been held. wanted, asked: distances of the driver's command, and of what the
    limits left of it, from the pose one step later, as `_distances` gives them;
    None if nothing can be compared.
    """
    rows, spec = self._file.rows, self._arm.spec
    sent = [row for row in rows if np.isfinite(row.asked).all()]
    holds: dict[str, int] = {}
    for row in rows:
      if not np.isfinite(row.asked).all():
        # Numbers differ from step to step; the words before them do not.
        reason = row.verdict.partition(':')[0] or 'nothing was decided'
        holds[reason] = holds.get(reason, 0) + 1
    sources: dict[str, int] = {}
    for row in sent:
      sources[row.source] = sources.get(row.source, 0) + 1
    pairs = [x for x in itertools.pairwise(rows) if self._followed(*x)]
    later = np.array([row.measured for _, row in pairs])
    return {
      'steps': len(rows),
      'sent': len(sent),
      'by_source': sources,
      'limited': np.mean([row.limited for row in sent]) if sent else None,
      'holds': holds,
      'wanted': _distances(spec, [row.wanted for row, _ in pairs], later),
      'asked': _distances(spec, [row.asked for row, _ in pairs], later),
    }

  def write(self) -> dict[str, Any]:
    """Writes shadow.npz, shadow.json and shadow.md; returns `compare`'s.

    shadow.npz: time [N], wanted, asked, measured [N, A], source [N] and
    verdict [N] as texts.
    """
    folder, found = self._folder, self.compare()
    rows, dim = self._file.rows, self._arm.spec.action_dim
    with (folder / FILE).open('wb') as file:
      np.savez_compressed(
        file,
        time=np.array([x.time for x in rows]),
        wanted=np.array([x.wanted for x in rows]).reshape(-1, dim),
        asked=np.array([x.asked for x in rows]).reshape(-1, dim),
        measured=np.array([x.measured for x in rows]).reshape(-1, dim),
        source=np.array([x.source for x in rows], str),
        verdict=np.array([x.verdict for x in rows], str),
      )
    text = json.dumps(found, indent=1) + '\n'
    files.write_atomically(folder / 'shadow.json', text)
    text = '\n'.join(lines(self._arm.spec, found)) + '\n'
    files.write_atomically(folder / 'shadow.md', text)
    return found

  def close(self) -> None:
    """Closes the file of the steps."""
    self._file.close()

  def _followed(self, row: ShadowRow, later: ShadowRow) -> bool:
    """Whether something would have been sent, and the pose after it is known.

    Between two runs the time goes anywhere.
    """
    return bool(
      0.0 < later.time - row.time <= _MAX_GAP * self._period_s
      and np.isfinite(later.measured).all()
      and np.isfinite(row.wanted).all()
      and np.isfinite(row.asked).all()
    )


def _distances(
  spec: ArmSpec, commands: list[np.ndarray], later: np.ndarray
) -> dict[str, Any] | None:
  """Returns p50, p95 and the worst of each joint, and of each tip in mm.

  Args:
    spec: of the arm.
    commands: [N] of [A].
    later: [N, A] measured one control step later.
  """
  if not len(commands):
    return None
  commands = np.array(commands)
  found = {
    name: _quantiles(np.abs(commands[:, i] - later[:, i]))
    for i, name in enumerate(spec.joint_names)
  }
  for chain in spec.chains:
    joints = [spec.joint_names.index(name) for name in chain.joints]
    tips = [kinematics.tip_position(chain, x[:, joints])
            for x in (commands, later)]  # fmt: skip
    far = np.linalg.norm(tips[0] - tips[1], axis=-1)
    found[f'tip of {chain.joints[-1]}, mm'] = _quantiles(1e3 * far)
  return found


def _quantiles(values: np.ndarray) -> dict[str, float]:
  p50, p95, worst = np.percentile(values, [50, 95, 100])
  return {'p50': float(p50), 'p95': float(p95), 'worst': float(worst)}


def lines(spec: ArmSpec, found: dict[str, Any]) -> list[str]:
  """Returns a comparison as lines of Markdown."""
  out = [
    '# Shadow run',
    '',
    'Nothing was sent to the arm. Distances are from what would have been sent '
    'to the measured pose one control step later.',
    '',
    f'{found["sent"]} of {found["steps"]} control steps would have sent a '
    f'command, by {found["by_source"]}; the safety limits changed '
    f'{_share(found["limited"])} of them.',
    '',
  ]
  for reason, count in sorted(found['holds'].items(), key=lambda x: -x[1]):
    out.append(f'- {count} steps would have held: {reason}')
  if found['wanted'] is None:
    return [*out, '', 'No two steps could be compared.']
  units = dict(zip(spec.joint_names, spec.joint_units, strict=True))
  out += [
    '',
    '| | wanted p50 | p95 | worst | sent p50 | p95 | worst |',
    '|---|---|---|---|---|---|---|',
  ]
  for name, wanted in found['wanted'].items():
    numbers = [*wanted.values(), *found['asked'][name].values()]
    unit = f', {units[name]}' if name in units else ''
    cells = ' | '.join(f'{x:.4g}' for x in numbers)
    out.append(f'| {name}{unit} | {cells} |')
  return out


def _share(value: float | None) -> str:
  return 'none' if value is None else f'{100 * value:.0f} %'


def open_log(
  arm: Arm,
  control_hz: float,
  workdir: pathlib.Path,
  stack: contextlib.ExitStack,
) -> Callable[[LoopStep], None]:
  """Returns what notes the steps of a shadow run, written when it ends.

  Args:
    arm: of the run; one that is no `ShadowArm` has nothing to note.
    control_hz: control steps a second.
    workdir: of the run.
    stack: writes the log.
  """
  if not isinstance(arm, ShadowArm):
    return lambda step: None
  log = ShadowLog(arm, 1.0 / control_hz, workdir)
  stack.callback(log.close)
  stack.callback(log.write)
  return log.on_step
