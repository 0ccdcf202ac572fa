"""One run's settings, composed of the packages' own."""

import dataclasses

from rlt_jax.agents.rlt import AgentConfig, UpdateConfig
from rlt_jax.replay import CORRECTIONS
from rlt_jax.rollout.perception import Z_SOURCES
from rlt_jax.tasks.ethernet.insertion import CONTROL_HZ, TaskConfig

_IDLE = tuple(range(6, 14))  # right gripper, left joints and gripper
_COUNTS = (
  'robots', 'robot_steps', 'chunk', 'stride', 'updates_per_row', 'capacity',
  'base_horizon', 'eval_episodes', 'final_episodes',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class PracticeConfig:
  """Practice of one task; every default has its reason beside it."""

  task: TaskConfig = TaskConfig()
  # One unit is one to two mm at the tip, so .45 explores some .7 mm, the size
  # of the play in the socket. At .3 two seeds of two learnt later; a sixth of
  # that hardly learnt anything.
  # The grippers and the left arm rest in every demonstration.
  agent: AgentConfig = AgentConfig(sigma=0.45, idle_entries=_IDLE)
  # For this unit and a reward of 1; the run prints where it stands (D about 4).
  # At half of it the first minutes bring nothing.
  update: UpdateConfig = UpdateConfig(beta=0.003)
  seed: int = 0
  robots: int = 8  # E side by side; more waits longer for each chunk's end
  robot_steps: int = 45_000  # 15 minutes at 50 Hz, over all robots
  warmup_steps: int = 6_000  # driven by the VLA
  chunk: int = 10  # C, 0.2 s
  stride: int = 2  # control steps between row starts
  # Control steps from what is seen to the step that it decides. Simulation can
  # wait for the VLA, an arm cannot: make it what its answers take.
  delay: int = 0
  correction: str = 'reference'  # where a human drove; see replay.build_rows
  gamma: float = 0.99  # a control step; what makes faster better
  updates_per_row: int = 5  # critic updates a stored row (G)
  first_update_rows: int = 1_000  # rows stored before the first update
  capacity: int = 30_000  # rows; 15 minutes store 22,500
  z_source: str = 'token'  # or what stands in for it, see perception
  base_horizon: int = 20  # steps the base policy runs of its 50
  eval_minutes: tuple[float, ...] = (5.0, 10.0)  # besides 0 and the end
  eval_episodes: int = 40  # along the way; E * C / s, one batch
  final_episodes: int = 100  # base and end
  eval_seed: int = 10_000  # of the start states, the same for all policies
  film_pairs: int = 4  # 0 makes no film
  checkpoint_minutes: float = 5.0  # of robot time

  def __post_init__(self):
    for name in _COUNTS:
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    if self.film_pairs < 0:
      raise ValueError(f'film_pairs must not be negative: {self.film_pairs}.')
    if not 0.0 < self.gamma <= 1.0:
      raise ValueError(f'gamma must lie in (0, 1]: {self.gamma}.')
    if self.chunk % self.stride:
      raise ValueError(f'stride must divide chunk {self.chunk}: {self.stride}.')
    if self.delay % self.stride or not 0 <= self.delay < self.chunk:
      raise ValueError(
        f'delay must be a multiple of stride {self.stride} below chunk '
        f'{self.chunk}: {self.delay}.'
      )
    if self.task.time_limit % self.chunk:
      raise ValueError(
        f'task.time_limit must be a multiple of chunk {self.chunk}: '
        f'{self.task.time_limit}.'
      )
    if self.base_horizon % self.chunk:
      raise ValueError(
        f'base_horizon must be a multiple of chunk {self.chunk}: '
        f'{self.base_horizon}.'
      )
    if self.first_update_rows < self.update.batch:
      raise ValueError(
        f'first_update_rows must be at least update.batch '
        f'{self.update.batch}: {self.first_update_rows}.'
      )
    if self.warmup_steps < 2 * self.first_update_rows * self.stride:
      raise ValueError(
        'warmup_steps must leave the learner time before the actor drives, '
        f'at least {2 * self.first_update_rows * self.stride}: '
        f'{self.warmup_steps}.'
      )
    if self.correction not in CORRECTIONS:
      raise ValueError(
        f'correction must be one of {CORRECTIONS}: {self.correction!r}.'
      )
    if self.z_source not in Z_SOURCES:
      raise ValueError(
        f'z_source must be one of {Z_SOURCES}: {self.z_source!r}.'
      )
    limit = self.minutes(self.robot_steps)
    if any(not 0.0 < m <= limit for m in self.eval_minutes):
      raise ValueError(
        f'eval_minutes must lie in (0, {limit:g}]: {self.eval_minutes}.'
      )

  @staticmethod
  def minutes(steps: int) -> float:
    """Returns robot minutes of control steps."""
    return steps / CONTROL_HZ / 60.0
