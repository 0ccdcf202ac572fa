"""Builds task, frozen VLA, token and agent of a run."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

from rlt_jax import signals, tasks
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.evaluation import evaluator
from rlt_jax.resnet10 import weights as resnet10
from rlt_jax.resnet10.embedder import ResNetEmbedder
from rlt_jax.rollout import chunk_rollout as chunk_rollout_lib
from rlt_jax.rollout import perception as perception_lib
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.serving.embedder import Embedder
from rlt_jax.serving.serving_spec import ServingSpec
from rlt_jax.tasks.task import Task, TaskSpec
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import precision
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Array

_START_STATES = 128  # that standardize what stands in for the token


class TaskSetup(NamedTuple):
  """Task, features and agent of a run.

  embedder: frozen VLA and its token. human: a simulated person, or None.
  """

  embedder: Embedder
  task: Task
  rollout_fns: RolloutFns
  perception: Perception
  agent: Agent
  human: SimulatedHuman | None = None


class PolicySetup(NamedTuple):
  """What a policy is read with: its agent, and the specs that give its sizes.

  task: of the task. served: of the frozen VLA and its token.
  """

  task: TaskSpec
  served: ServingSpec
  agent: Agent


def make_policy(config: PracticeConfig, assets: str = '') -> PolicySetup:
  """Builds what a policy is read with; a shipped task builds no simulator.

  Args:
    config: the run's settings; its token is the VLA's own, 'none' in
      `token_ablation`.
    assets: as for `make`.

  Raises:
    ValueError: see `make`.
  """
  precision.check()
  task = tasks.load_spec(config.task_name, config.task)
  embedder = assets_lib.load_embedder(assets, config, task)
  agent = make_agent(config, embedder.spec, task.frozen_action_dims)
  _check_agent(agent, embedder, config)
  return PolicySetup(task, embedder.spec, agent)


def make(config: PracticeConfig, assets: str = '') -> TaskSetup:
  """Builds the setup of a run.

  Args:
    config: the run's settings.
    assets: folder with token/ and, for the VLA 'pi_small', vla/; empty for the
      shipped ones.

  Raises:
    ValueError: assets that do not fit, by name; JAX in 64-bit mode.
  """
  precision.check()
  task = tasks.load(config.task_name, config.task)
  if task.render is None:
    raise ValueError(
      'Practice needs a task with cameras, Task.render: '
      f'{config.task_name!r} has none.'
    )
  rollout_fns, human = chunk_rollout_lib.make(task), None
  embedder = assets_lib.load_embedder(assets, config, task.spec)
  if config.token_ablation == 'resnet10_sim':
    pictures = _start_pictures(task, rollout_fns, config.num_envs)
    # It compiles the task's reset and cameras.
    embedder = signals.call(ResNetEmbedder, embedder, resnet10.load(), pictures)
  agent = make_agent(config, embedder.spec, task.spec.frozen_action_dims)
  _check_agent(agent, embedder, config)
  perception = perception_lib.make(
    task=task,
    embedder=embedder,
    token_ablation=config.token_ablation,
    reference_fault=config.reference_fault,
    num_candidates=agent.num_candidates,
  )
  if config.human.present:
    human = SimulatedHuman(task, rollout_fns, config.human, config.chunk_size)
  return TaskSetup(embedder, task, rollout_fns, perception, agent, human)


def _start_pictures(
  task: Task, rollout_fns: RolloutFns, size: int
) -> Iterator[Mapping[str, Array]]:
  """Yields pictures of start states, `size` at a time."""
  for keys in jax.random.split(
    jax.random.PRNGKey(0), (-(-_START_STATES // size), size)
  ):
    yield task.render(rollout_fns.begin(keys, size))


def _check_agent(
  agent: Agent, embedder: Embedder, config: PracticeConfig
) -> None:
  """Raises ValueError where the VLA or the replay cannot serve the agent."""
  steers = agent.prior_noise is not None
  if (steers or agent.num_candidates > 1) and not embedder.spec.takes_noise:
    raise ValueError(
      f'The agent {config.agent_name!r} needs a VLA that takes the noise of '
      f'its flow (takes_noise): {config.vla!r} does not.'
    )
  if steers and config.reference_fault == 'noise':
    raise ValueError(
      "reference_fault 'noise' needs an agent that does not choose the VLA's "
      f'noise: {config.agent_name!r}.'
    )
  rows = config.num_env_steps // config.replay_stride
  if agent.vla_share and rows > config.replay_capacity:
    # The oldest rows, which the ring would overwrite, are the VLA's.
    raise ValueError(
      'replay_capacity must hold all rows for an agent that draws prior data, '
      f'{rows}: {config.replay_capacity}.'
    )


def make_agent(
  config: PracticeConfig,
  vla: ServingSpec | Perception,
  frozen_action_dims: tuple[int, ...] = (),
) -> Agent:
  """Builds the agent of a run.

  Args:
    config: of the run.
    vla: gives the sizes.
    frozen_action_dims: of the task.

  Raises:
    ValueError: settings that do not fit, by name.
  """
  sizes = Sizes(
    vla.z_dim,
    vla.proprio_dim,
    config.chunk_size,
    vla.action_dim,
    frozen_action_dims,
    vla.horizon,
  )
  return registry.make(config.agent_name, config.agent, sizes)


def make_evaluator(
  setup: TaskSetup, config: PracticeConfig, seed: int | None = None
) -> evaluator.Evaluator:
  """Builds the evaluator; it has the batch sizes that practice compiles.

  Args:
    setup, config: of the run.
    seed: of the start states; the config's if None.
  """
  return evaluator.Evaluator(
    setup.rollout_fns,
    setup.perception,
    seed=config.eval_seed if seed is None else seed,
    chunk=config.chunk_size,
    delay=config.inference_delay,
    sizes=evaluator.Sizes(
      config.num_envs,
      config.num_envs * config.chunk_size // config.replay_stride,
    ),
  )
