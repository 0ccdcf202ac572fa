"""Settings of insertion tasks, and how their episodes can fail."""

import dataclasses

from rlt_jax.tasks.bench_config import BenchConfig
from rlt_jax.tasks.task import Outcome


class InsertionOutcome(Outcome):
  """How an episode ended, or that it is running."""

  FORCE_LIMIT = 2  # the force on the plug exceeded the limit
  DROP = 3  # the gripper opened and lost the plug
  SPOILED = 4  # what the tip drives has failed, see `verdict.Drive`


OUTCOMES = ('time_out', 'success', 'force_limit', 'drop')


@dataclasses.dataclass(frozen=True, kw_only=True)
class InsertionConfig(BenchConfig):
  """Settings that insertion tasks share; their own classes add to them."""

  socket_shift_mm: float = 5.0  # socket position, uniform +- in x and y
  socket_lift_mm: float = 1.0  # and in z
  socket_turn_deg: float = 3.0  # and about each axis
  grasp_shift_mm: float = 1.0  # plug in the hand, uniform +- per axis
  grasp_turn_deg: float = 2.0  # and about each axis
  start_shift_mm: float = 3.0  # tip at the start, uniform +- in x and y
  start_height_mm: tuple[float, float] = (10.5, 20.0)  # above the mouth
  start_turn_deg: float = 2.0  # plug from upright, uniform +- per axis
  friction: tuple[float, float] = (0.2, 0.5)  # of the contacts, per episode
  # N, net force of the socket on the plug. A command at its limit presses with
  # about 20 N at rest; a blow at the fastest approach has 70 to 85 N.
  force_limit: float = 80.0
  drop_opening_mm: float = 4.0  # right gripper opening that loses the plug

  @property
  def socket_turns_deg(self) -> float | tuple[float, float, float]:
    """The socket's uniform +- turn about each axis; one number for all."""
    return self.socket_turn_deg


def check_depths(seated_mm: float, deepest_mm: float) -> None:
  """Raises a ValueError unless success has room between two depths, mm."""
  if not seated_mm < deepest_mm:
    raise ValueError(
      f'deepest_mm must be above seated_mm, {seated_mm}: {deepest_mm}.'
    )
