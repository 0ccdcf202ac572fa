"""Settings of the scripted teleoperator, readable without a simulator."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonConfig:
  """Settings of the operator; tasks have their own values."""

  reaction_steps: tuple[int, int] = (8, 20)  # before the first motion
  align_speed_mm_s: tuple[float, float] = (11.0, 22.0)  # limit, per episode
  push_speed_mm_s: tuple[float, float] = (9.0, 17.0)
  turn_speed_deg_s: float = 9.0
  hover_mm: float = 3.0  # above the mouth, where it aligns the plug
  aim_error_mm: float = 0.6  # std of the first attempt, per axis
  aim_error_deg: float = 0.6
  aim_gain: float = 0.5  # error of each attempt relative to the one before
  pause_steps: tuple[int, int] = (8, 30)  # before a push
  slip_rate: float = 0.006  # probability per step of an unmotivated stop
  slip_steps: tuple[int, int] = (6, 18)
  stuck_steps: int = 18  # without progress until it ends a push
  stuck_mm: float = 0.25  # least progress during stuck_steps
  press_mm: float = 2.5  # how far it pushes ahead of the measured tip
  past_mm: float = 1.0  # below the floor, where its pushes aim
  tremor_mm: float = 0.04  # std of the moving hand's tremor
  rest_tremor_rad: float = 3e-4  # std of the resting arm's
  lift_mm: float = 25.0  # end of a lift, above the mouth
