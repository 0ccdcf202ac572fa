"""How an episode on the robot ends."""

from rlt_jax.robot.text_enum import TextEnum


class RowEnd(TextEnum):
  """How the last replay row of an episode ends.

  SUCCESS, FAILURE: the episode terminates; success has a reward of 1. CUT: its
  end is not known, so rows bootstrap from its last observation.
  """

  SUCCESS = 'success'
  FAILURE = 'failure'
  CUT = 'cut'


class EpisodeOutcome(TextEnum):
  """How an episode ended, as named in the journal and in reports.

  SUCCESS, FAILURE: the operator's labels. TIME_OUT: the time limit passed.
  HOLD: the arm was stopped. ABORT: the operator ended it without a label.
  RERECORD: the operator discarded it.
  """

  SUCCESS = 'success'
  FAILURE = 'failure'
  TIME_OUT = 'time_out'
  HOLD = 'hold'
  ABORT = 'abort'
  RERECORD = 'rerecord'

  @property
  def counted(self) -> bool:
    """Whether it counts for the success rate."""
    return self in (self.SUCCESS, self.FAILURE, self.TIME_OUT)

  @property
  def row_end(self) -> RowEnd | None:
    """How its last replay row ends; None: nothing is learned from it."""
    return _ROW_ENDS.get(self)


_ROW_ENDS = {
  EpisodeOutcome.SUCCESS: RowEnd.SUCCESS,
  EpisodeOutcome.FAILURE: RowEnd.FAILURE,
  EpisodeOutcome.TIME_OUT: RowEnd.CUT,
  EpisodeOutcome.HOLD: RowEnd.CUT,
}
