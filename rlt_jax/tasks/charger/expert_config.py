"""Settings of the teleoperator of the charger task."""

import dataclasses

from rlt_jax.tasks.insertion.person_config import PersonConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig(PersonConfig):
  """Settings: a longer way than on Ethernet, at a higher speed."""

  align_speed_mm_s: tuple[float, float] = (16.0, 32.0)
  turn_speed_deg_s: float = 12.0
  hover_mm: float = 4.0
