"""Settings of the screw task."""

import dataclasses
import math
from typing import ClassVar

from rlt_jax.tasks.bench_config import check_clearance
from rlt_jax.tasks.insertion.config import InsertionConfig

CLEARANCES_MM = (0.2, 0.1, 0.05)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScrewConfig(InsertionConfig):
  """The screw task; the defaults are `screw-0.10mm`."""

  # The paper's actor and critics are larger on the screw than elsewhere.
  practice_settings: ClassVar[tuple[str, ...]] = (
    'agent.hidden_dims=512,512,512',
  )
  clearance_mm: float = 0.1  # per side of the bit; one of CLEARANCES_MM
  socket_shift_mm: float = 4.0  # recess position, uniform +- in x and y
  # About x and y. About z the bit has to be turned into the recess.
  socket_turn_deg: float = 2.0
  recess_turn_deg: float = 18.0  # recess about its axis, uniform +-
  start_height_mm: tuple[float, float] = (8.0, 18.0)  # above the recess
  # Over the clearance, for the bit's way from the mouth to the floor. The
  # edge of the bit slides in from up to 0.4 mm.
  mouth_slack_mm: float = 0.6
  deepest_mm: float = 3.5  # of 2.5 mm depth; below it is not in the recess
  # The motor is a rule: it turns the screw while the bit is in the recess, at
  # least this deep, and pressed.
  engage_mm: float = 1.2
  yaw_limit_deg: float = 10.0  # bit from the recess, for the motor to turn it
  tilt_limit_deg: float = 8.0  # likewise, between their axes
  engage_push_n: float = 2.0  # starts the motor
  hold_push_n: float = 0.5  # below it the bit cams out and the motor stops
  cam_out_limit: int = 4  # one more ruins the recess, which ends the episode
  pitch_mm: float = 0.7  # sunk per turn, as of M4
  seated_turns: float = 4.0  # until the head is seated, which is success
  motor_rpm: float = 150.0  # of the motor, and of the screw while it turns

  def __post_init__(self):
    super().__post_init__()
    check_clearance(self, CLEARANCES_MM)
    for name in ('pitch_mm', 'seated_turns', 'motor_rpm'):
      if not getattr(self, name) > 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    if not 0.0 <= self.hold_push_n <= self.engage_push_n:
      raise ValueError(
        f'hold_push_n must lie in [0, engage_push_n], {self.engage_push_n}: '
        f'{self.hold_push_n}.'
      )

  @property
  def name(self) -> str:
    """The task's name, with its clearance."""
    return f'screw-{self.clearance_mm:.2f}mm'

  @property
  def socket_turns_deg(self) -> tuple[float, float, float]:
    """The recess's uniform +- turn about each axis."""
    return self.socket_turn_deg, self.socket_turn_deg, self.recess_turn_deg

  @property
  def turn_per_step(self) -> float:
    """Turns of the motor in a control step."""
    return self.motor_rpm / 60.0 / self.control_hz

  @property
  def seated_steps(self) -> int:
    """Control steps of the motor until the screw is seated."""
    return math.ceil(self.seated_turns / self.turn_per_step - 1e-9)
