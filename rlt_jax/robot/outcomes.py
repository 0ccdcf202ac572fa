"""How an episode on the robot ends."""

import enum


class EpisodeOutcome(enum.StrEnum):
  """The one list of endings, as the journal and the reports spell them.

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
  def row_end(self) -> str | None:
    """How its last replay row ends; None: nothing is learned from it.

    'cut' rows bootstrap from what follows, as after a truncation.
    """
    if self in (self.SUCCESS, self.FAILURE):
      return self.value
    return 'cut' if self in (self.TIME_OUT, self.HOLD) else None
