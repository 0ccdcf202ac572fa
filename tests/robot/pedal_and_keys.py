"""A scripted operator who holds a pedal while driving, and has keys."""

import functools

import numpy as np

from rlt_jax.robot.operator.events import ButtonMap, Kind
from rlt_jax.robot.operator.scripted import ScriptedTeleoperator

TARGET = np.array([0.05, 0.0, 0.012])
DOWN, UP = True, False  # of the pedal, in a script beside kinds of events
_PEDAL = ButtonMap(down={0: Kind.TAKEOVER}, up={0: Kind.RELEASE})


class PedalAndKeys(ScriptedTeleoperator):
  """Drives to `TARGET`; its pedal is a device of its own, `pedal`.

  faults: as of a group that has lost a device.
  """

  def __init__(self, script, *, clock):
    super().__init__(script, pose=lambda s: TARGET, clock=clock)
    self.faults = []

  def poll(self):
    events = []
    for event in super().poll():
      if isinstance(event.kind, bool):
        events += _PEDAL.events(0, event.kind, time=event.time, device='pedal')
      else:
        events.append(event)
    return events


def scripted(*script):
  """Returns what makes the device for a clock; of (s, kind, DOWN or UP)."""
  return functools.partial(PedalAndKeys, script)
