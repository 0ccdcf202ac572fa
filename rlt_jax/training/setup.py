"""The work cell of a run: task, cameras, frozen VLA and token, put together."""

from collections.abc import Callable
from typing import NamedTuple

from rlt_jax.agents import registry
from rlt_jax.agents.agent import Agent, Sizes
from rlt_jax.evaluation import evaluator
from rlt_jax.rollout import chunk_rollout as chunk_rollout_lib
from rlt_jax.rollout import perception as perception_lib
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.serving.embedder import Embedder
from rlt_jax.sim import camera
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig


class TaskSetup(NamedTuple):
  """What a run practices with. embedder: the frozen VLA and its token."""

  embedder: Embedder
  task: insertion.Task
  play: RolloutFns
  render: Callable
  perception: Perception
  agent: Agent


def make(config: PracticeConfig, assets: str = '') -> TaskSetup:
  """Builds the cell of a run.

  Args:
    config: the run's settings.
    assets: folder with token/ and, for the VLA 'pi_small', vla/; empty for the
      shipped ones.

  Raises:
    ValueError: assets that do not fit, by name.
  """
  task = insertion.make(config.task)
  embedder = assets_lib.load_embedder(assets, config, assets_lib.TASK)
  render = camera.make(task.scene)
  perception = perception_lib.make(
    render=render,
    embedder=embedder,
    instruction=scripted_expert_lib.INSERT,
    token_ablation=config.token_ablation,
    scene=task.scene,
  )
  return TaskSetup(
    embedder,
    task,
    chunk_rollout_lib.make(task),
    render,
    perception,
    make_agent(config, perception),
  )


def make_agent(config: PracticeConfig, perception: Perception) -> Agent:
  """Builds the agent of a run.

  Args:
    config: of the run.
    perception: gives the sizes.

  Raises:
    ValueError: settings that do not fit, by name.
  """
  sizes = Sizes(
    perception.z_dim,
    perception.proprio_dim,
    config.chunk_size,
    perception.action_dim,
  )
  return registry.make(config.agent_name, config.agent, sizes)


def make_evaluator(
  cell: TaskSetup, config: PracticeConfig, seed: int | None = None
) -> evaluator.Evaluator:
  """Builds the evaluator; its batches are those that practice compiles.

  Args:
    cell, config: of the run.
    seed: of the start states; the config's if None.
  """
  return evaluator.Evaluator(
    cell.play,
    cell.perception,
    seed=config.eval_seed if seed is None else seed,
    chunk=config.chunk_size,
    delay=config.inference_delay,
    sizes=evaluator.Sizes(
      config.num_envs,
      config.num_envs * config.chunk_size // config.replay_stride,
    ),
  )
