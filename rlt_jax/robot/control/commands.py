"""What the loop gets from its driver: a command, a stop event or a reason."""

from typing import NamedTuple, Protocol

import numpy as np

from rlt_jax import types
from rlt_jax.robot.arm import Reading
from rlt_jax.robot.control.stop_states import StopEvent
from rlt_jax.robot.text_enum import TextEnum


class CommandSource(TextEnum):
  """Source of the command of a control step.

  WAIT: the arm keeps its pose between two chunks. NONE: there was no command.
  """

  VLA = 'vla'
  ACTOR = 'actor'
  HUMAN = 'human'
  WAIT = 'wait'
  NONE = 'none'

  @property
  def row_source(self) -> int:
    """The `types.Source` of rows with this command.

    Raises:
      ValueError: WAIT and NONE, which no row contains.
    """
    if self not in _ROW_SOURCES:
      raise ValueError(f'No row may contain a step of the source {self}.')
    return _ROW_SOURCES[self]

  @classmethod
  def of_row(cls, source: int) -> 'CommandSource':
    """Returns the source whose `row_source` this is."""
    (found,) = [x for x, number in _ROW_SOURCES.items() if number == source]
    return found


_ROW_SOURCES = {
  CommandSource.VLA: types.Source.VLA,
  CommandSource.ACTOR: types.Source.ACTOR,
  CommandSource.HUMAN: types.Source.HUMAN,
}


class Command(NamedTuple):
  """Joint targets from the active driver.

  command: [A] absolute joint targets. obs_time: s, timestamp of the
  observation that they were computed from.
  """

  command: np.ndarray
  obs_time: float
  source: CommandSource


class Driver(Protocol):
  """Gives commands: a policy, an operator, or a switch between both."""

  def __call__(self, reading: Reading, now: float) -> Command | StopEvent | str:
    """Returns the next command, a stop event, or why the arm must hold."""

  def clear(self) -> None:
    """Drops planned commands: the arm has stopped, or an episode begins."""
