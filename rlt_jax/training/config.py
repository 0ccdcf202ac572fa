"""Settings of a run, with those of its task and agent."""

from collections.abc import Sequence
import dataclasses
import json

from rlt_jax import config as config_lib
from rlt_jax import tasks
from rlt_jax.agents import registry
from rlt_jax.agents.agent import AgentConfig
from rlt_jax.agents.rlt.config import RltConfig
from rlt_jax.rollout import REFERENCE_FAULTS, TOKEN_ABLATIONS
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.types import INTERVENTION_REFERENCES

_COUNTS = (
  'num_envs', 'num_env_steps', 'chunk_size', 'replay_stride', 'utd_ratio',
  'replay_capacity',
  'open_loop_steps', 'num_eval_episodes', 'num_final_episodes',
)  # fmt: skip
# What a resumed run may change: it decides how long a run goes on and what is
# measured, not what was computed so far. The VLA's fingerprint is checked.
CHANGEABLE = (
  'vla', 'num_env_steps', 'eval_at_minutes', 'num_eval_episodes',
  'num_final_episodes', 'num_eval_videos', 'checkpoint_minutes',
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class PracticeConfig:
  """Settings of practice of one task."""

  # 'pi_small[:FOLDER]', 'ws://host:port' of a server, or 'module:function'.
  vla: str = 'pi_small'
  task_name: str = 'ethernet'  # or 'module:function'
  task: TaskConfig = EthernetConfig()  # settings of the task
  agent_name: str = 'rlt'  # or 'module:function'
  agent: AgentConfig = RltConfig()  # settings of the agent
  # Of a simulated person who helps; nobody by default.
  human: HumanConfig = dataclasses.field(
    default=HumanConfig(), metadata={'absent': HumanConfig()}
  )
  # Of networks, start states and exploration. The same seed repeats a run.
  seed: int = 0
  # Environments that practice side by side (E). More need fewer rounds, but a
  # round lasts as long as its slowest environment.
  num_envs: int = 8
  # Control steps of practice, all environments together; the default is 15
  # minutes at 50 steps per second.
  num_env_steps: int = 45_000
  # First control steps, driven by the VLA. The critics learn from them; without
  # a success among them the actor learns nothing.
  vla_warmup_steps: int = 6_000
  # Episodes that must have succeeded before the agent drives: with fewer the
  # VLA goes on, up to three times vla_warmup_steps. 0 counts steps alone, as
  # runs on a robot always do.
  vla_warmup_successes: int = dataclasses.field(
    default=5, metadata={'absent': 0}
  )
  # Control steps of an action chunk (C); the default is 0.2 s.
  chunk_size: int = 10
  # Control steps between the starts of two replay rows; divides chunk_size.
  # Overlapping rows use every step for several rows.
  replay_stride: int = 2
  # Control steps from an observation to the first step that it decides. 0 in
  # simulation, which waits for the VLA; on an arm the VLA's response time.
  inference_delay: int = 0
  # Reference in the rows of steps that a human drove: 'human', the human's
  # commands, so that beta pulls the actor toward them; or 'vla'.
  intervention_reference: str = 'human'
  # Discount per control step, at most 1. Below 1 it rewards speed.
  gamma: float = 0.99
  # Critic updates per stored row (G). More learn faster from the same practice
  # and cost computing time.
  utd_ratio: int = 5
  # Rows stored before the first update.
  learning_starts: int = 1_000
  # Rows that the replay buffer holds; then the oldest are replaced. 15 minutes
  # store 22,500.
  replay_capacity: int = 30_000
  # 'none', or what replaces the RL token to measure its use: 'zeros',
  # 'socket_blind' (proprioception only), 'true_pose' (the task's own pose),
  # 'mean_tokens' (the mean of the VLA's tokens) or 'resnet10_sim' (a ResNet-10
  # trained on renders of other things).
  token_ablation: str = 'none'
  # 'none', or what is wrong with the VLA's chunks, to measure how practice
  # copes: 'bias' (0.4 mm along x), 'halved' or 'noise' (one action unit).
  reference_fault: str = dataclasses.field(
    default='none', metadata={'absent': 'none'}
  )
  # Control steps of a VLA's chunk that run before the next query while the VLA
  # drives alone.
  open_loop_steps: int = 20
  # Robot minutes at which the agent is evaluated, besides the end. Marks beyond
  # the end are left out.
  eval_at_minutes: tuple[float, ...] = (5.0, 10.0)
  # Episodes of an evaluation during practice. The default is one batch,
  # num_envs * chunk_size / replay_stride.
  num_eval_episodes: int = 40
  # Episodes of the evaluations before practice and at its end.
  num_final_episodes: int = 100
  # Seed of the start states of all evaluations, so that they are comparable.
  eval_seed: int = 10_000
  # Pairs of episodes in film.gif, before and after practice; 0 makes no film.
  num_eval_videos: int = 4
  # Robot minutes between two checkpoints.
  checkpoint_minutes: float = 5.0

  def __post_init__(self):
    for name in _COUNTS:
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    for name in ('num_eval_videos', 'vla_warmup_successes'):
      if getattr(self, name) < 0:
        raise ValueError(f'{name} must not be negative: {getattr(self, name)}.')
    if not 0.0 < self.gamma <= 1.0:
      raise ValueError(f'gamma must lie in (0, 1]: {self.gamma}.')
    if self.intervention_reference not in INTERVENTION_REFERENCES:
      raise ValueError(
        f'intervention_reference must be one of '
        f'{INTERVENTION_REFERENCES}: {self.intervention_reference!r}.'
      )
    if self.token_ablation not in TOKEN_ABLATIONS:
      raise ValueError(
        f'token_ablation must be one of {TOKEN_ABLATIONS}: '
        f'{self.token_ablation!r}.'
      )
    if self.reference_fault not in REFERENCE_FAULTS:
      raise ValueError(
        f'reference_fault must be one of {REFERENCE_FAULTS}: '
        f'{self.reference_fault!r}.'
      )
    if not self.checkpoint_minutes * 60 * self.task.control_hz >= 1.0:
      raise ValueError(
        'checkpoint_minutes must be at least a control step: '
        f'{self.checkpoint_minutes}.'
      )
    if any(not m > 0.0 for m in self.eval_at_minutes):
      raise ValueError(
        f'eval_at_minutes must be positive: {self.eval_at_minutes}. Without '
        'evaluations on the way: --set=eval_at_minutes= (nothing after =).'
      )
    self.human.check_read()
    self._check_chunks()
    self._check_replay()

  def _check_chunks(self) -> None:
    if self.chunk_size % self.replay_stride:
      raise ValueError(
        f'replay_stride must divide chunk_size {self.chunk_size}: '
        f'{self.replay_stride}.'
      )
    if (
      self.inference_delay % self.replay_stride
      or not 0 <= self.inference_delay < self.chunk_size
    ):
      raise ValueError(
        f'inference_delay must be a multiple of replay_stride '
        f'{self.replay_stride} below chunk_size '
        f'{self.chunk_size}: {self.inference_delay}.'
      )
    if self.task.time_limit % self.chunk_size:
      raise ValueError(
        f'task.time_limit must be a multiple of chunk_size {self.chunk_size}: '
        f'{self.task.time_limit}.'
      )
    if self.open_loop_steps % self.chunk_size:
      raise ValueError(
        f'open_loop_steps must be a multiple of chunk_size {self.chunk_size}: '
        f'{self.open_loop_steps}.'
      )

  def _check_replay(self) -> None:
    if self.replay_capacity < self.agent.batch_size:
      raise ValueError(
        f'replay_capacity must be at least agent.batch_size '
        f'{self.agent.batch_size}: {self.replay_capacity}.'
      )
    rows = self.num_envs * self.chunk_size // self.replay_stride
    if self.replay_capacity < rows:
      raise ValueError(
        f'replay_capacity must hold the {rows} rows of a round: '
        f'{self.replay_capacity}.'
      )
    if self.learning_starts < self.agent.batch_size:
      raise ValueError(
        f'learning_starts must be at least agent.batch_size '
        f'{self.agent.batch_size}: {self.learning_starts}.'
      )
    if self.vla_warmup_steps < 2 * self.learning_starts * self.replay_stride:
      raise ValueError(
        'vla_warmup_steps must leave the learner time before the actor drives, '
        f'at least {2 * self.learning_starts * self.replay_stride}: '
        f'{self.vla_warmup_steps}.'
      )

  def minutes(self, steps: int) -> float:
    """Returns robot minutes of control steps."""
    return steps / self.task.control_hz / 60.0

  def marks(self) -> tuple[float, ...]:
    """Returns robot minutes of all evaluations of the agent, the end last.

    Marks of `eval_at_minutes` from the end on are left out.
    """
    end = self.minutes(self.num_env_steps)
    return (*sorted({m for m in self.eval_at_minutes if m < end}), end)

  def marks_left_out(self) -> tuple[float, ...]:
    """Returns the marks of `eval_at_minutes` beyond the end of the run."""
    end = self.minutes(self.num_env_steps)
    return tuple(m for m in self.eval_at_minutes if m > end)


def make_config(
  assignments: Sequence[str] = (),
  *,
  task: str = '',
  vla: str = '',
  agent: str = '',
) -> PracticeConfig:
  """Returns the default settings of a task, VLA and agent with changes.

  What suits the task, `TaskConfig.practice_settings`, counts as a default.

  Args:
    assignments: 'field=value', as `config.override` reads them.
    task, vla, agent: values of `task_name`, `vla` and `agent_name`; '' keeps
      the default.

  Raises:
    ValueError: a name or setting that does not exist or does not fit.
  """
  for text in assignments:
    name = text.partition('=')[0].strip()
    if name in ('task', 'task_name', 'agent', 'agent_name'):
      flag = name.removesuffix('_name')
      raise ValueError(
        f'{name} must be given as --{flag}=NAME, and a setting of it as '
        f'--set={flag}.FIELD=VALUE: --set={text}.'
      )
  config = PracticeConfig()
  # The defaults need no code of their task and agent, so no JAX.
  if task and task != config.task_name:
    cls = tasks.config_class(task)
    config = dataclasses.replace(config, task_name=task, task=cls())
  if agent and agent != config.agent_name:
    cls = registry.config_class(agent)
    config = dataclasses.replace(config, agent_name=agent, agent=cls())
  if vla:
    config = dataclasses.replace(config, vla=vla)
  suited = [
    text
    for text in config.task.practice_settings
    if _is_of(text.partition('=')[0].strip(), config.agent)
  ]
  return config_lib.override(config, [*suited, *assignments])


def _is_of(name: str, agent: AgentConfig) -> bool:
  """Returns whether a setting is none of the agent, or one that it has."""
  of_agent, _, field = name.partition('.')
  return of_agent != 'agent' or hasattr(agent, field)


def read_config(text: str) -> PracticeConfig:
  """Returns the settings that `config.to_json` wrote.

  Raises:
    ValueError: a field that is unknown, missing or of another type, or a task
      or agent that cannot be found, each by name.
  """
  plain = json.loads(text)
  nested = {}
  for field, config_class in (
    ('task', tasks.config_class),
    ('agent', registry.config_class),
  ):
    name = plain.get(f'{field}_name') if isinstance(plain, dict) else None
    # Without a name it is an old or foreign file: the reader says which.
    if isinstance(name, str):
      nested[field] = config_class(name)
  return config_lib.from_json(PracticeConfig, text, nested)
