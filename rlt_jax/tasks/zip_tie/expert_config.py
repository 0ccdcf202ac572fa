"""Settings of the zip tie's teleoperator, readable without a simulator."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig:
  """Settings of the operator, who moves both hands."""

  reaction_steps: tuple[int, int] = (8, 20)  # before the first motion
  align_speed_mm_s: tuple[float, float] = (12.0, 24.0)  # limit, of each hand
  push_speed_mm_s: tuple[float, float] = (8.0, 15.0)  # of the strap in the head
  tighten_speed_mm_s: tuple[float, float] = (8.0, 16.0)  # likewise
  turn_speed_deg_s: float = 12.0
  meet_mm: float = 5.0  # where the hands meet, uniform +- per axis
  hover_mm: float = 4.0  # above the mouth, where it aligns the strap
  aim_error_mm: float = 0.5  # std of the first attempt, per axis
  aim_error_deg: float = 0.8
  aim_gain: float = 0.5  # error of each attempt relative to the one before
  pause_steps: tuple[int, int] = (8, 30)  # before a push
  look_steps: tuple[int, int] = (8, 24)  # with the strap through the slot
  slip_rate: float = 0.006  # probability per step of an unmotivated stop
  slip_steps: tuple[int, int] = (6, 18)
  stuck_steps: int = 18  # without progress until it ends a push
  stuck_mm: float = 0.25  # least progress during stuck_steps
  bend_deg: float = 14.0  # of the strap, at which it ends a push at once
  press_mm: float = 3.5  # how far each hand moves ahead of where it is
  tremor_mm: float = 0.04  # std of the hands' tremor
  apart_mm: float = 40.0  # end of the other instruction, above the mouth
