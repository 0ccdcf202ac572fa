"""Settings of the zip tie task, and how its episodes can fail."""

import dataclasses
from typing import ClassVar

from rlt_jax.tasks.bench_config import BenchConfig, check_clearance
from rlt_jax.tasks.task import Outcome

CLEARANCES_MM = (0.3, 0.2, 0.15, 0.1)


class ZipTieOutcome(Outcome):
  """How an episode ended, or that it is running."""

  FORCE_LIMIT = 2  # the force on the strap exceeded the limit
  DROP = 3  # a gripper opened and lost the head or the strap
  BUCKLED = 4  # the strap bent beyond the limit


OUTCOMES = ('time_out', 'success', 'force_limit', 'drop', 'buckled')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZipTieConfig(BenchConfig):
  """The zip tie task; the defaults are `zip_tie-0.20mm`."""

  # With the default of 0.003 the actor loses what it has learned.
  practice_settings: ClassVar[tuple[str, ...]] = ('agent.beta=0.01',)
  clearance_mm: float = 0.2  # per side of the strap; one of CLEARANCES_MM
  proprio: str = 'end_effector'  # poses of both hands; or 'joints'
  head_shift_mm: float = 8.0  # head at the start, uniform +- in x, y and z
  head_turn_deg: float = 5.0  # and about each axis
  start_shift_mm: float = 10.0  # tip at the start, uniform +- in x and y
  start_height_mm: tuple[float, float] = (12.0, 30.0)  # above the mouth
  start_turn_deg: float = 5.0  # strap from upright, uniform +- per axis
  grasp_shift_mm: float = 1.0  # strap and head in their hands, uniform +-
  grasp_turn_deg: float = 2.0  # and about each axis
  friction: tuple[float, float] = (0.2, 0.5)  # of the contacts, per episode
  # N, net force of head and pawl on the strap, which buckles at 10 N at rest. A
  # strap that goes in stays below 10 N.
  force_limit: float = 20.0
  bend_limit_deg: float = 20.0  # of both joints of the strap together
  drop_opening_mm: float = 4.0  # opening of either gripper that loses its part
  tooth_mm: float = 1.0  # from tooth to tooth of the strap
  threaded_mm: float = 10.0  # tip below the mouth, where the pawl first catches
  tight_mm: float = 20.0  # tip below the mouth, for success
  deepest_mm: float = 23.0  # below it the strap is not in the slot
  # The loop closes on the bundle, which resists from here on.
  bundle_from_mm: float = 16.0
  bundle_n_per_mm: float = 1.0  # its stiffness
  # Over the clearance, for the strap's way through the mouth. The round edge
  # slides in from half a millimeter beside; the walls are 4 mm thick.
  mouth_slack_mm: float = 1.0
  lateral_slack_mm: float = 0.4  # of the strap in the slot, over the clearance
  turn_limit_deg: float = 20.0  # of the grasped strap from the slot

  def __post_init__(self):
    super().__post_init__()
    check_clearance(self, CLEARANCES_MM)
    if not self.threaded_mm < self.tight_mm < self.deepest_mm:
      raise ValueError(
        'threaded_mm, tight_mm and deepest_mm must rise: '
        f'{self.threaded_mm}, {self.tight_mm}, {self.deepest_mm}.'
      )
    if self.tooth_mm <= 0.0:
      raise ValueError(f'tooth_mm must be positive: {self.tooth_mm}.')

  @property
  def name(self) -> str:
    """The task's name, with its clearance."""
    return f'zip_tie-{self.clearance_mm:.2f}mm'
