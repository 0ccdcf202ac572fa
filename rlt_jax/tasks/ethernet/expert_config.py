"""Settings of the teleoperator of the Ethernet task."""

import dataclasses

from rlt_jax.tasks.insertion.person_config import PersonConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig(PersonConfig):
  """Settings; chosen so that the median on Ethernet is near 146 steps."""
