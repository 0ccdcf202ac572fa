"""Settings of the teleoperator of the screw task."""

import dataclasses

from rlt_jax.tasks.insertion.person_config import PersonConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig(PersonConfig):
  """Settings: slower and finer than with a plug."""

  align_speed_mm_s: tuple[float, float] = (9.0, 18.0)
  push_speed_mm_s: tuple[float, float] = (5.0, 10.0)
  turn_speed_deg_s: float = 14.0
  hover_mm: float = 2.0
  aim_error_mm: float = 0.25
  aim_error_deg: float = 1.5
  press_mm: float = 3.0
  past_mm: float = 2.0
  lift_mm: float = 20.0
