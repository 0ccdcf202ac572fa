"""Settings of the charger task."""

import dataclasses

from rlt_jax.tasks.bench_config import check_clearance
from rlt_jax.tasks.insertion.config import check_depths, InsertionConfig

CLEARANCES_MM = (0.5, 0.3, 0.2, 0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChargerConfig(InsertionConfig):
  """The charger task; the defaults are `charger-0.50mm`."""

  clearance_mm: float = 0.5  # per side of a prong; one of CLEARANCES_MM
  proprio: str = 'end_effector'  # poses of both hands; or 'joints'
  # An episode starts centimeters from the slots, as in the paper.
  socket_shift_mm: float = 8.0  # slots' position, uniform +- in x and y
  start_shift_mm: float = 10.0  # prongs at the start, uniform +- in x and y
  start_height_mm: tuple[float, float] = (12.0, 30.0)  # above the mouths
  start_turn_deg: float = 4.0  # plug from upright, uniform +- per axis
  seated_mm: float = 13.0  # of 14 mm depth, both prongs, for success
  deepest_mm: float = 15.0  # below it a prong is not in a slot
  # Over the clearance, for a prong's way from its mouth to the floor. The round
  # edge slides in from up to a millimeter; the walls are ten millimeters thick.
  mouth_slack_mm: float = 1.5
  lateral_slack_mm: float = 0.5  # of both prongs, over the clearance
  tilt_limit_deg: float = 5.0  # for success

  def __post_init__(self):
    super().__post_init__()
    check_clearance(self, CLEARANCES_MM)
    check_depths(self.seated_mm, self.deepest_mm)

  @property
  def name(self) -> str:
    """The task's name, with its clearance."""
    return f'charger-{self.clearance_mm:.2f}mm'
