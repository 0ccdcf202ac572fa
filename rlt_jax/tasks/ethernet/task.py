"""The insertion task: pure `reset` and `step`, 50 Hz, one world each.

Vmap them over a leading [E] with `sim.worlds.over_worlds` and jit them with
`jit` below (see there why).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import action_space, kinematics, physics
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import CONTROL_HZ, Outcome, TaskConfig
from rlt_jax.tasks.ethernet.state import State
from rlt_jax.types import Array, PRNGKey

__all__ = [
  'CONTROL_HZ',
  'Outcome',
  'State',
  'Task',
  'TaskConfig',
  'TipInSocket',
  'jit',
  'joint_positions',
  'make',
  'proprio',
  'reach',
  'tip_in_socket',
]


class Task(NamedTuple):
  """Pure functions of one world, and what they were built from.

  reset: key -> State. The key is consumed.
  step: (State, command [A]) -> State. Ended worlds stay as they are, with
    reward 0, until they are reset.
  """

  config: TaskConfig
  scene: scene_lib.Scene
  reset: Callable[[PRNGKey], State]
  step: Callable[[State, Array], State]


def jit(function: Callable, **kwargs) -> Callable:
  """Jits a function that contains the simulator.

  XLA's CPU fusion emitters make a serial arm's kinematics some 60 times
  slower, so they are turned off for such functions, and for these only: the
  learner is faster with them.
  """
  if jax.default_backend() == 'cpu':
    kwargs['compiler_options'] = {'xla_cpu_use_fusion_emitters': False}
  return jax.jit(function, **kwargs)


def joint_positions(state: State) -> Array:
  """Returns the measured pose [..., A], rad and m."""
  return scene_lib.to_joints(state.qpos)


def proprio(state: State) -> Array:
  """Returns proprioception [..., P]: positions, then velocities."""
  return jnp.concatenate(
    [scene_lib.to_joints(state.qpos), scene_lib.to_joints(state.qvel)],
    axis=-1,
  )


class TipInSocket(NamedTuple):
  """depth: [] m, 0 at the mouth, positive inside. lateral: [2] m, in the
  mouth's plane. tilt: [] rad, between the axes."""

  depth: Array
  lateral: Array
  tilt: Array


def _tip_and_socket(
  scene: scene_lib.Scene, state: State
) -> tuple[Array, Array, Array]:
  """Returns the tip [3] in the socket's frame, m, and the matrices [3, 3] of
  the tip and of the socket in the world."""
  pos, mat = kinematics.tip_pose(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot
  )
  socket = kinematics.rotation(state.socket_rot)
  return socket.T @ (pos - state.socket_pos), mat, socket


def tip_in_socket(scene: scene_lib.Scene, state: State) -> TipInSocket:
  """Measures the plug's tip in the socket's frame, from poses alone."""
  rel, mat, socket = _tip_and_socket(scene, state)
  cos = jnp.clip(jnp.dot(mat[:, 2], socket[:, 2]), -1.0, 1.0)
  return TipInSocket(-rel[2], rel[:2], jnp.arccos(cos))


def plug_in_socket(scene: scene_lib.Scene, state: State) -> Array:
  """Returns the true pose [6] of the plug's tip in the socket's frame.

  Position, m, z outwards from the mouth's centre; then the rotation vector,
  rad, from where plug and socket are aligned. What no policy is told.
  """
  rel, mat, socket = _tip_and_socket(scene, state)
  turn = socket.T @ mat @ jnp.asarray(scene.right.base_mat).T
  return jnp.concatenate([rel, kinematics.small_rotvec(turn)])


def reach(config: TaskConfig) -> np.ndarray:
  """Returns how far [A] a command may be from the measured pose, rad and m."""
  side = [config.reach_rad] * 3 + [config.reach_wrist_rad] * 2
  side += [config.reach_roll_rad, config.reach_gripper_mm * 1e-3]
  return np.array(side * 2, np.float32)


def make(config: TaskConfig | None = None) -> Task:
  """Builds the task's pure functions.

  Raises:
    ValueError: `config.impl` does not run here; what does is listed.
  """
  config = config or TaskConfig()
  scene = scene_lib.load(config.clearance_mm, config.timestep)
  engine = physics.make(scene, config.substeps, config.impl)

  def reset(key: PRNGKey) -> State:
    return _reset(key, config=config, scene=scene)

  def step(state: State, command: Array) -> State:
    after = _step(state, command, config=config, scene=scene, engine=engine)
    running = state.outcome == Outcome.RUNNING
    held = state.replace(reward=jnp.zeros_like(state.reward))
    return jax.tree.map(lambda x, y: jnp.where(running, x, y), after, held)

  return Task(config, scene, reset, step)


def _reset(
  key: PRNGKey, *, config: TaskConfig, scene: scene_lib.Scene
) -> State:
  """Draws an episode: socket, grasp, friction and start pose."""
  keys = jax.random.split(key, 8)

  def draw(k: PRNGKey, size: float) -> Array:
    return jax.random.uniform(k, (3,), minval=-size, maxval=size)

  shift = (
    draw(keys[0], 1.0)
    * 1e-3
    * jnp.array(
      [
        config.socket_shift_mm,
        config.socket_shift_mm,
        config.socket_lift_mm,
      ]
    )
  )
  socket_pos = jnp.asarray(scene_lib.MOUTH_HOME) + shift
  grasp_pos = draw(keys[2], config.grasp_shift_mm * 1e-3)
  grasp_rot = draw(keys[3], np.deg2rad(config.grasp_turn_deg))
  low, high = config.start_height_mm
  height = jax.random.uniform(keys[4], minval=low, maxval=high) * 1e-3
  side = draw(keys[5], config.start_shift_mm * 1e-3)
  # The start does not follow the socket's place, only its height: where the
  # arm stands tells nothing about where the socket is.
  target = jnp.asarray(scene_lib.MOUTH_HOME) + side
  target = target.at[2].set(socket_pos[2] + height)
  turn = draw(keys[6], np.deg2rad(config.start_turn_deg))
  home_mat = jnp.asarray(scene.right.base_mat)
  arm = kinematics.solve_tip(
      scene.right, jnp.zeros(6), grasp_pos, grasp_rot, target,
      kinematics.rotation(turn) @ home_mat, iterations=4,
  )  # fmt: skip
  joints = jnp.asarray(scene.home).at[:6].set(arm)
  qpos = scene_lib.to_actuators(joints)
  zeros = jnp.zeros_like(qpos)
  return State(
    qpos=qpos,
    qvel=zeros,
    warmstart=zeros,
    command=joints,
    grasp_pos=grasp_pos,
    grasp_rot=grasp_rot,
    socket_pos=socket_pos,
    socket_rot=draw(keys[1], np.deg2rad(config.socket_turn_deg)),
    friction=jax.random.uniform(
      keys[7], minval=config.friction[0], maxval=config.friction[1]
    ),
    steps=jnp.int32(0),
    outcome=jnp.int32(Outcome.RUNNING),
    reward=jnp.float32(0.0),
    force=jnp.float32(0.0),
  )


def _step(
  state: State,
  command: Array,
  *,
  config: TaskConfig,
  scene: scene_lib.Scene,
  engine: physics.Engine,
) -> State:
  """Runs one control step and judges it."""
  executed = action_space.limit_command(
    command, joint_positions(state), reach(config), scene.joint_low,
    scene.joint_high,
  )  # fmt: skip
  moved = engine(state, scene_lib.to_actuators(executed))
  # Contacts are the only constraints, and only the plug has any.
  forces = kinematics.tip_force(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot, moved.torques
  )
  state = state.replace(
    qpos=moved.qpos,
    qvel=moved.qvel,
    warmstart=moved.warmstart,
    command=executed,
    steps=state.steps + 1,
    force=jnp.max(jnp.linalg.norm(forces, axis=-1)),
  )
  return _judge(state, config=config, scene=scene)


def _judge(
  state: State, *, config: TaskConfig, scene: scene_lib.Scene
) -> State:
  """Sets reward and outcome; success goes before every other end."""
  tip = tip_in_socket(scene, state)
  slack = scene.clearance + config.lateral_slack_mm * 1e-3
  success = (
    (tip.depth >= config.seated_mm * 1e-3)
    & jnp.all(jnp.abs(tip.lateral) <= slack)
    & (tip.tilt <= np.deg2rad(config.tilt_limit_deg))
  )
  opening = scene_lib.to_joints(state.qpos)[6]
  outcome = jnp.int32(Outcome.RUNNING)
  timed_out = state.steps >= config.time_limit
  dropped = opening > config.drop_opening_mm * 1e-3
  # A world that is no longer finite ends too, as if it had been crushed.
  lost = ~jnp.all(jnp.isfinite(state.qpos))
  pressed = (state.force > config.force_limit) | lost
  for happened, code in (
    (timed_out, Outcome.TIME_OUT),
    (dropped, Outcome.DROP),
    (pressed, Outcome.FORCE),
    (success, Outcome.SUCCESS),
  ):
    outcome = jnp.where(happened, code, outcome)
  return state.replace(
    outcome=outcome.astype(jnp.int32),
    reward=success.astype(jnp.float32),
  )
