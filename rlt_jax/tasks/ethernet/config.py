"""Settings of the Ethernet task."""

import dataclasses

from rlt_jax.tasks.bench_config import check_clearance
from rlt_jax.tasks.insertion.config import (
  check_depths,
  InsertionConfig,
  InsertionOutcome,
  OUTCOMES,
)

__all__ = ['CLEARANCES_MM', 'EthernetConfig', 'EthernetOutcome', 'OUTCOMES']

EthernetOutcome = InsertionOutcome
CLEARANCES_MM = (0.3, 0.15, 0.1, 0.05)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EthernetConfig(InsertionConfig):
  """The Ethernet task; the defaults are `ethernet-0.30mm`."""

  clearance_mm: float = 0.3  # per side; one of CLEARANCES_MM
  seated_mm: float = 11.0  # of 12 mm depth, for success
  deepest_mm: float = dataclasses.field(  # below it the plug is not in a socket
    default=13.0, metadata={'absent': 13.0}
  )
  # Over the clearance, for the tip's way from the mouth to the floor. The nose
  # slides in from up to a millimeter; the walls are ten millimeters thick.
  mouth_slack_mm: float = dataclasses.field(
    default=1.5, metadata={'absent': 1.5}
  )
  lateral_slack_mm: float = 0.5  # over the clearance, for success
  tilt_limit_deg: float = 5.0  # for success

  def __post_init__(self):
    super().__post_init__()
    check_clearance(self, CLEARANCES_MM)
    check_depths(self.seated_mm, self.deepest_mm)

  @property
  def name(self) -> str:
    """The task's name, with its clearance."""
    return f'ethernet-{self.clearance_mm:.2f}mm'
