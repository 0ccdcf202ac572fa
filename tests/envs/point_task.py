"""A point in a plane that must reach a goal: a task that compiles at once."""

import chex
import jax
import jax.numpy as jnp

from rlt_jax.tasks.task import Outcome, Task, TaskConfig, TaskSpec
from rlt_jax.types import Array

FAILED = 2  # beyond 0.3 m from the goal
_GOAL = jnp.array([0.1, -0.1])
_REACH = (0.02, 0.02, 0.01)


@chex.dataclass(frozen=True)
class PointState:
  """qpos: [3], x and y of the point, then a finger that rests; m."""

  qpos: Array
  command: Array
  steps: Array
  outcome: Array
  reward: Array


def make(config: TaskConfig | None = None) -> Task:
  config = config or TaskConfig(time_limit=12)

  def reset(key):
    angle = jax.random.uniform(key, maxval=2 * jnp.pi)
    start = 0.045 * jnp.array([jnp.cos(angle), jnp.sin(angle)])
    joints = jnp.append(_GOAL + start, 0.005)
    return PointState(
      qpos=joints,
      command=joints,
      steps=jnp.int32(0),
      outcome=jnp.int32(Outcome.RUNNING),
      reward=jnp.float32(0.0),
    )

  def step(state, command):
    reach = jnp.array(_REACH)
    command = state.qpos + jnp.clip(command - state.qpos, -reach, reach)
    steps = state.steps + 1
    distance = jnp.linalg.norm(command[:2] - _GOAL)
    success = distance < 0.01
    outcome = jnp.where(
      steps >= config.time_limit, Outcome.TIME_OUT, Outcome.RUNNING
    )
    outcome = jnp.where(distance > 0.3, FAILED, outcome)
    after = PointState(
      qpos=command,
      command=command,
      steps=steps,
      outcome=jnp.where(success, Outcome.SUCCESS, outcome).astype(jnp.int32),
      reward=success.astype(jnp.float32),
    )
    running = state.outcome == Outcome.RUNNING
    ended = state.replace(reward=jnp.float32(0.0))
    return jax.tree.map(lambda x, y: jnp.where(running, x, y), after, ended)

  def true_pose(state):
    return jnp.concatenate([state.qpos[:2] - _GOAL, jnp.zeros(4)])

  def render(state):
    level = jnp.clip(state.qpos[:, :1] * 500 + 100, 0, 255).astype(jnp.uint8)
    shape = (len(state.qpos), 64, 64, 3)
    return {'top': jnp.broadcast_to(level[..., None, None], shape)}

  return Task(
    config=config,
    spec=TaskSpec(
      name='point',
      control_hz=50.0,
      time_limit=config.time_limit,
      joint_names=('x', 'y', 'finger'),
      joint_units=('m', 'm', 'm'),
      joint_low=(-1.0, -1.0, 0.0),
      joint_high=(1.0, 1.0, 0.01),
      max_reach=_REACH,
      proprio_names=('x.pos', 'y.pos', 'finger.pos'),
      cameras=('top',),
      image_size=64,
      instruction='go to the goal',
      outcomes=('time_out', 'success', 'too_far'),
      frozen_action_dims=(2,),
    ),
    reset=reset,
    step=step,
    joint_positions=lambda state: state.qpos,
    proprio=lambda state: state.qpos,
    render=render,
    true_pose=true_pose,
    goal_pose=(0.0,) * 6,
  )
