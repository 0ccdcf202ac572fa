"""Who drove each tick.

The tags are those of `rlt_jax.types.Source`, which needs JAX. What a person's
tag does to a row is replay's business: see `replay.build_rows`.
"""

from rlt_jax.robot.operator.handover import Drive

VLA, ACTOR, HUMAN = 0, 1, 2


def tick_source(drive: Drive, *, actor: bool) -> int | None:
  """Returns the tag of one tick, or None while the arm holds.

  Nobody drives a holding arm: no row may contain such a tick, so it ends the
  episode's part.

  Args:
    drive: of this tick.
    actor: the policy's command is the actor's, not the VLA's own.
  """
  if drive is Drive.HOLD:
    return None
  if drive is Drive.HUMAN:
    return HUMAN
  return ACTOR if actor else VLA
