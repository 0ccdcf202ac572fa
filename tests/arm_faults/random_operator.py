"""An operator who presses anything at any time, on a clock that is wound."""

import functools

import numpy as np

from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import ScriptedTeleoperator
from rlt_jax.robot.recording import episodes
from tests.arm_faults.cases import check_learned, Context, Tally
from tests.robot.fakes import FakeRobot

_LABELS = (Kind.SUCCESS, Kind.FAILURE, Kind.ABORT, Kind.RERECORD)
_TARGET = np.array([0.05, 0.0, 0.012])


def run(context: Context) -> Tally:
  """Random presses with a VLA that may be late or away: no label is lost."""
  tally, rng = context.tally, context.rng
  for number in range(context.count):
    script, at_s = [], 0.0
    for _ in range(rng.randrange(6)):
      at_s += rng.expovariate(1.5)
      kind = rng.choice([Kind.TAKEOVER, Kind.RELEASE, Kind.ENTER_CRITICAL])
      script.append((at_s, kind))
    label = rng.choice(_LABELS)
    script.append((max(at_s + rng.uniform(0.0, 0.5), 0.6), label))
    delay_s = rng.choice([0.01, 0.01, 0.05, 0.14, 0.3])
    tally.add(_episode(context, number, script, delay_s, label.value))
  return tally


def _episode(context, number, script, delay_s, said):
  robot = FakeRobot(
    context.fresh(f'random{number}'),
    time_limit=100_000,
    answer_timeout_s=30.0,
    device=functools.partial(
      ScriptedTeleoperator, script, pose=lambda s: _TARGET
    ),
  )
  robot.vla.delay = delay_s
  outcome = robot.episode().outcome.value
  robot.journal.close()
  if outcome != said:
    return [f'{said} is listed as {outcome}: {script}']
  for found in episodes.read(robot.folder):
    steps = sum(len(x.steps) for x in episodes.learnable_parts(found, 2))
    faults = check_learned(found, said)
    if said in ('success', 'failure') and steps != len(robot.driven):
      faults.append(f'{steps} of {len(robot.driven)} steps are learned')
    if faults:
      return [f'{x}: delay {delay_s} s, {script}' for x in faults]
  return []
