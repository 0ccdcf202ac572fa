"""The point task with an expert, a tip and instructions, to demonstrate."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from rlt_jax.tasks.task import ScriptedExpert, Task, TaskConfig, Tip
from tests.envs import point_task

_GOAL = jnp.array([0.1, -0.1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointExpertConfig:
  speed: float = 0.01  # m a step
  away: float = 0.02  # m a step, when told to leave


def make(config: TaskConfig | None = None) -> Task:
  """Returns the task; its expert follows three instructions."""
  task = point_task.make(config or TaskConfig(time_limit=12))
  spec = dataclasses.replace(task.spec, other_instructions=('go away', 'go up'))
  return dataclasses.replace(
    task,
    spec=spec,
    make_expert=functools.partial(make_expert, _GOAL),
    tip=Tip(
      pose=lambda state: (state.qpos, jnp.eye(3)),
      solve=lambda state, position, matrix: position,
      remaining_motion=lambda now, final: jnp.concatenate(
        [final - now, jnp.zeros(3)]
      ),
    ),
  )


def make_expert(goal, config: PointExpertConfig | None = None):
  config = config or PointExpertConfig()

  def begin(key, state, instruction):
    del key, state
    return instruction

  def act(key, instruction, state):
    way = goal - state.qpos[:2]
    way = way / (jnp.linalg.norm(way) + 1e-9)
    step = jnp.select(
      [instruction == 0, instruction == 1],
      [config.speed * way, -config.away * way],
      jnp.array([0.0, config.away]),
    )
    tremor = 1e-4 * jax.random.normal(key, (2,))
    return instruction, state.qpos.at[:2].add(step + tremor)

  return ScriptedExpert(begin=begin, act=act)


def make_without_cameras(config: TaskConfig | None = None) -> Task:
  return dataclasses.replace(make(config), render=None)


def make_without_tip(config: TaskConfig | None = None) -> Task:
  return dataclasses.replace(make(config), tip=None)
