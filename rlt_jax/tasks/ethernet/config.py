"""Settings of the Ethernet task, and how its episodes can fail."""

import dataclasses

from rlt_jax.tasks.task import Outcome, TaskConfig

IMPLS = ('jax', 'warp')


class EthernetOutcome(Outcome):
  """How an Ethernet episode ended, or that it is running."""

  FORCE_LIMIT = 2  # the force on the plug exceeded the limit
  DROP = 3  # the gripper opened and lost the plug


OUTCOMES = ('time_out', 'success', 'force_limit', 'drop')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EthernetConfig(TaskConfig):
  """The Ethernet task; the defaults are `ethernet-0.30mm`."""

  clearance_mm: float = 0.3  # per side; one of scene.CLEARANCES_MM
  substeps: int = 5  # physics steps per control step
  timestep: float = 0.004  # s; times substeps must be the control period
  # MJX in JAX, or in MuJoCo Warp (an optional dependency). Files written before
  # this field existed mean 'jax'.
  impl: str = dataclasses.field(default='jax', metadata={'absent': 'jax'})
  socket_shift_mm: float = 5.0  # socket position, uniform +- in x and y
  socket_lift_mm: float = 1.0  # and in z
  socket_turn_deg: float = 3.0  # and about each axis
  grasp_shift_mm: float = 1.0  # plug in the hand, uniform +- per axis
  grasp_turn_deg: float = 2.0  # and about each axis
  start_shift_mm: float = 3.0  # tip at the start, uniform +- in x and y
  start_height_mm: tuple[float, float] = (10.5, 20.0)  # above the mouth
  start_turn_deg: float = 2.0
  friction: tuple[float, float] = (0.2, 0.5)
  seated_mm: float = 11.0  # of 12 mm depth, for success
  lateral_slack_mm: float = 0.5  # over the clearance, for success
  tilt_limit_deg: float = 5.0  # for success
  # N, net force of the socket on the plug. A command at its limit presses with
  # about 70 N at rest; only impacts and levering exceed that.
  force_limit: float = 80.0
  drop_opening_mm: float = 4.0  # right gripper opening that loses the plug
  # Command limit of joints 1-3: 6 mm at the tip. With 4 mm learning took twice
  # as long, since the limit shortened fast chunks.
  reach_rad: float = 0.02
  reach_wrist_rad: float = 0.04  # joints 4 and 5
  reach_roll_rad: float = 0.1  # joint 6
  reach_gripper_mm: float = 5.0

  def __post_init__(self):
    super().__post_init__()
    if self.impl not in IMPLS:
      raise ValueError(f'impl must be one of {IMPLS}: {self.impl!r}.')
    period = self.timestep * self.substeps
    if abs(period * self.control_hz - 1.0) > 1e-6:
      raise ValueError(
        f'timestep * substeps must be {1 / self.control_hz} s: {period}.'
      )

  @property
  def name(self) -> str:
    """The task's name, with its clearance."""
    return f'ethernet-{self.clearance_mm:.2f}mm'
