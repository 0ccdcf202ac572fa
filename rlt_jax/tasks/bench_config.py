"""Settings that the tasks of the two-arm bench share: physics and limits."""

import dataclasses
import math
from typing import Any

import numpy as np

from rlt_jax.tasks.task import TaskConfig

IMPLS = ('jax', 'warp')
PROPRIOS = ('joints', 'end_effector')


def _nominal_zero() -> Any:
  return dataclasses.field(default=0.0, metadata={'absent': 0.0})


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchConfig(TaskConfig):
  """Settings of physics and commands; a kind of task adds to them."""

  substeps: int = 5  # physics steps per control step
  timestep: float = 0.004  # s; times substeps must be the control period
  # Newton iterations of a physics step, at most. With 4, a plug between two
  # walls is not solved: at low friction or in a tight socket hundreds of
  # newtons appear that 8 and 100 iterations do not have. Files written before
  # this field existed mean 4.
  solver_iterations: int = dataclasses.field(default=8, metadata={'absent': 4})
  # s. A contact is a critically damped spring with this time constant, whatever
  # the timestep is; at least two timesteps, or it is unstable. With 8 ms a plug
  # on the socket's floor is a spring of 9 kN/mm; see docs/results.md.
  contact_time_constant: float = dataclasses.field(
    default=0.008, metadata={'absent': 0.008}
  )
  # MJX in JAX, or in MuJoCo Warp (an optional dependency). Files written before
  # this field existed mean 'jax'.
  impl: str = dataclasses.field(default='jax', metadata={'absent': 'jax'})
  # What the VLA and the networks measure of the arms: 'joints' or
  # 'end_effector', see docs/tasks.md.
  proprio: str = dataclasses.field(
    default='joints', metadata={'absent': 'joints'}
  )
  # Command limit of joints 1-3: 6 mm at the tip. With 4 mm learning took twice
  # as long, since the limit shortened fast chunks.
  reach_rad: float = 0.02
  reach_wrist_rad: float = 0.04  # joints 4 and 5
  reach_roll_rad: float = 0.1  # joint 6
  reach_gripper_mm: float = 5.0  # command limit of the opening
  # What follows differs between robots and is nominal here. Drawn per episode
  # in practice it makes a policy robust. Files written before these fields
  # existed mean the nominal values.
  # Stiffness of each joint's controller, a factor drawn between the two per
  # episode; its damping stays.
  gain: tuple[float, float] = dataclasses.field(
    default=(1.0, 1.0), metadata={'absent': [1.0, 1.0]}
  )
  # mm, by how much an episode's clearance may be less than `clearance_mm`,
  # uniform from 0. The verdict keeps the limits of `clearance_mm`.
  tighter_mm: float = _nominal_zero()
  # mm, each camera's place in its mounting, uniform +- per axis and episode.
  camera_shift_mm: float = _nominal_zero()
  # Degrees, each camera's turn in its mounting, likewise.
  camera_turn_deg: float = _nominal_zero()
  # mrad, standard deviation of the arms' measured joints per control step.
  joint_noise_mrad: float = _nominal_zero()
  # mrad/s, standard deviation of the arms' measured joint rates, likewise.
  joint_rate_noise_mrad: float = _nominal_zero()

  def __post_init__(self):
    super().__post_init__()
    if self.impl not in IMPLS:
      raise ValueError(f'impl must be one of {IMPLS}: {self.impl!r}.')
    if self.proprio not in PROPRIOS:
      raise ValueError(f'proprio must be one of {PROPRIOS}: {self.proprio!r}.')
    period = self.timestep * self.substeps
    if abs(period * self.control_hz - 1.0) > 1e-6:
      raise ValueError(
        f'timestep * substeps must be {1 / self.control_hz} s: {period}.'
      )
    if self.solver_iterations < 1:
      raise ValueError(
        f'solver_iterations must be at least 1: {self.solver_iterations}.'
      )
    if self.contact_time_constant < 2 * self.timestep - 1e-9:
      raise ValueError(
        'contact_time_constant must be at least two timesteps, '
        f'{2 * self.timestep} s: {self.contact_time_constant}.'
      )
    self._check_variation()

  def _check_variation(self) -> None:
    low, high = self.gain
    if not 0.0 < low <= high < math.inf:
      raise ValueError(
        f'gain must be two finite numbers, 0 < lowest <= highest: {self.gain}.'
      )
    for name in (
      'camera_shift_mm', 'camera_turn_deg', 'joint_noise_mrad',
      'joint_rate_noise_mrad',
    ):  # fmt: skip
      if not 0.0 <= getattr(self, name) < math.inf:
        raise ValueError(
          f'{name} must be finite and at least 0: {getattr(self, name)}.'
        )


def check_clearance(config: Any, levels: tuple[float, ...]) -> None:
  """Raises a ValueError unless all clearances of a task are within levels.

  Args:
    config: of the task, with `clearance_mm` and `tighter_mm`.
    levels: that it has, mm.
  """
  if config.clearance_mm not in levels:
    raise ValueError(
      f'clearance_mm must be one of {levels}: {config.clearance_mm}.'
    )
  most = config.clearance_mm - min(levels)
  if not 0.0 <= config.tighter_mm <= most + 1e-9:
    raise ValueError(
      f'tighter_mm must be in [0, {most:g}], so that no episode is tighter '
      f'than {min(levels)} mm: {config.tighter_mm}.'
    )


def max_reach(config: BenchConfig) -> np.ndarray:
  """Returns how far [A] a command may be from the measured pose, rad and m."""
  side = [config.reach_rad] * 3 + [config.reach_wrist_rad] * 2
  side += [config.reach_roll_rad, config.reach_gripper_mm * 1e-3]
  return np.array(side * 2, np.float32)
