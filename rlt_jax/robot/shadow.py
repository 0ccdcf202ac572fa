"""Shadow mode: everything runs, and nothing is sent to the arm.

A person moves the arm, by hand or with a program of their own. At each control
step the loop decides what it would send, from the pose and pictures of that
moment, and the log compares it with where the arm is one step later: with what
the person did.
"""

from collections.abc import Callable
import contextlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from rlt_jax import files
from rlt_jax.robot.arm import Arm, ArmSpec, Reading
from rlt_jax.robot.control import kinematics
from rlt_jax.robot.control.telemetry import LoopStep

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
  """Collects what would have been sent; `write` compares and saves it."""

  def __init__(self, arm: ShadowArm, period_s: float):
    """Takes the arm, and the control period, s."""
    self._arm, self._period_s = arm, period_s
    self._steps: list[tuple[LoopStep, np.ndarray]] = []

  def on_step(self, step: LoopStep) -> None:
    """Notes a control step; call it after each one."""
    self._steps.append((step, self._arm.asked))

  def compare(self) -> dict[str, Any]:
    """Returns the distances from the person, for JSON.

    steps: control steps. sent: of them, those in which something would have
    been sent. by_source: of these, by driver. limited: share of these that the
    safety limits changed. holds: reason -> steps in which the arm would have
    been held. wanted, asked: distances of the driver's command, and of what the
    limits left of it, from the pose one step later, as `_distances` gives them;
    None if nothing can be compared.
    """
    sent = [i for i, x in enumerate(self._steps) if np.isfinite(x[1]).all()]
    holds: dict[str, int] = {}
    for step, asked in self._steps:
      if not np.isfinite(asked).all():
        # Numbers differ from step to step; the words before them do not.
        reason = step.verdict.partition(':')[0] or 'nothing was decided'
        holds[reason] = holds.get(reason, 0) + 1
    sources: dict[str, int] = {}
    for i in sent:
      name = str(self._steps[i][0].source)
      sources[name] = sources.get(name, 0) + 1
    pairs = [i for i in sent if self._followed(i)]
    later = np.array([self._steps[i + 1][0].measured for i in pairs])
    return {
      'steps': len(self._steps),
      'sent': len(sent),
      'by_source': sources,
      'limited': float(
        np.mean([self._steps[i][0].changed.any() for i in sent])
      ) if sent else None,
      'holds': holds,
      'wanted': _distances(
        self._arm.spec, [self._steps[i][0].wanted for i in pairs], later
      ),
      'asked': _distances(
        self._arm.spec, [self._steps[i][1] for i in pairs], later
      ),
    }  # fmt: skip

  def write(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Writes shadow.npz, shadow.json and shadow.md; returns `compare`'s.

    shadow.npz: time [N], wanted, asked, measured [N, A], source [N] and
    verdict [N] as texts.
    """
    folder, found = pathlib.Path(folder), self.compare()
    steps = [step for step, _ in self._steps]
    dim = self._arm.spec.action_dim
    with (folder / FILE).open('wb') as file:
      np.savez_compressed(
        file,
        time=np.array([x.time for x in steps]),
        wanted=np.array([x.wanted for x in steps]).reshape(-1, dim),
        asked=np.array([x for _, x in self._steps]).reshape(-1, dim),
        measured=np.array([x.measured for x in steps]).reshape(-1, dim),
        source=np.array([str(x.source) for x in steps], str),
        verdict=np.array([x.verdict for x in steps], str),
      )
    text = json.dumps(found, indent=1) + '\n'
    files.write_atomically(folder / 'shadow.json', text)
    text = '\n'.join(lines(self._arm.spec, found)) + '\n'
    files.write_atomically(folder / 'shadow.md', text)
    return found

  def _followed(self, i: int) -> bool:
    """Whether the pose one control step later is known."""
    if i + 1 >= len(self._steps):
      return False
    step, later = self._steps[i][0], self._steps[i + 1][0]
    return (
      later.time - step.time <= _MAX_GAP * self._period_s
      and np.isfinite(later.measured).all()
      and np.isfinite(step.wanted).all()
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
  log = ShadowLog(arm, 1.0 / control_hz)
  stack.callback(log.write, workdir)
  return log.on_step
