"""A pedal that is held over the end of an episode, and over a stop."""

import time

from tests.arm_faults.cases import Context, Tally
from tests.arm_faults.rig import Rig, Server, wait_for

_HUMAN = 2  # of a row
_ALIGNED_S = 0.7  # for the hand-over, or the time without labels


def run(context: Context) -> Tally:
  """A foot comes off the pedal: the policy drives, but no stopped arm starts.

  Kept down over the end of an episode, the person begins the next one.
  """
  tally, server = context.tally, Server()
  folder = context.fresh('pedal')
  devices = [
    {'kind': 'terminal'},
    {'kind': 'leader', 'arguments': {'arm': 'fake'}},
    {
      'kind': 'tests.arm_faults.parts:FilePedal',
      'arguments': {'path': str(folder / 'down')},
    },
  ]
  rig = Rig(folder, server.port, operator_arguments={'devices': devices})
  try:
    rig.start()
    for _ in range(context.count):
      tally.add([*_held_over_an_episode(rig), *_held_over_a_stop(rig)])
  finally:
    rig.stop()
    server.kill()
  return tally


def _set_pedal(rig: Rig, down: bool) -> None:
  path = rig.folder / 'down'
  path.touch() if down else path.unlink()
  time.sleep(_ALIGNED_S)


def _label(rig: Rig) -> None:
  number = len(rig.rows())
  rig.press('s')
  wait_for(lambda: len(rig.rows()) > number, 'the end of an episode')


def _held_over_an_episode(rig: Rig) -> list[str]:
  rig.wait_until_moving()
  _set_pedal(rig, True)
  _label(rig)
  rig.wait_until_moving()
  _set_pedal(rig, False)
  time.sleep(_ALIGNED_S)
  _label(rig)
  first, *rest = rig.episodes()[-1].recordings
  faults = []
  if {x.source for x in first.steps} != {_HUMAN}:
    faults.append('the policy drove while the pedal was down')
  if _HUMAN in {x.source for part in rest for x in part.steps} or not rest:
    faults.append('the policy did not drive when the pedal was up')
  return faults


def _held_over_a_stop(rig: Rig) -> list[str]:
  rig.wait_until_moving()
  _set_pedal(rig, True)
  said = rig.output.count('stays stopped')
  rig.press(' ')
  wait_for(lambda: rig.calls()[-1][2] == 'hold', 'a hold')
  rig.press('x')
  time.sleep(_ALIGNED_S)
  _set_pedal(rig, False)
  wait_for(lambda: rig.output.count('stays stopped') > said, 'its words')
  faults = [] if rig.calls()[-1][2] == 'hold' else ['the stopped arm started']
  _set_pedal(rig, True)
  _set_pedal(rig, False)
  if not faults:
    wait_for(lambda: rig.calls()[-1][2] == 'command', 'a command')
    _label(rig)
  return faults
