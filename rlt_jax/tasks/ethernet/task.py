"""The Ethernet insertion task: pure `reset` and `step`, one world each.

Vmap them over worlds with `sim.worlds.over_worlds` and jit them with
`Task.compile`; the reason is in `sim.compilation`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import action_space, camera, kinematics, physics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import measures, scripted_expert
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.bench import EthernetBench
from rlt_jax.tasks.ethernet.config import (
  EthernetConfig,
  EthernetOutcome,
  OUTCOMES,
)
from rlt_jax.tasks.ethernet.state import State
from rlt_jax.tasks.task import numbers, Task, TaskSpec, Tip
from rlt_jax.types import Array, PRNGKey

INSERT = 'insert the ethernet plug into the socket'
LIFT = 'lift the plug away from the socket'
IMAGE_SIZE = 64

# The wrist cameras see only a small region around the tip, without the arms.
_NEAR = (
    'bench', 'pedestal', 'wall_', 'socket_', 'plug', 'tip_', 'right_finger',
    'left_finger', 'right_hand', 'left_hand',
)  # fmt: skip
_INSIDE_THE_WALLS = ('rim_',)
# The second number is rays per pixel side. A wrist pixel is about 1 mm wide;
# the mean of four rays shows smaller motions. The base view needs one ray.
CAMERAS = (
  camera.CameraSpec('base', 1, None, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_left', 2, _NEAR, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_right', 2, _NEAR, _INSIDE_THE_WALLS),
)


def max_reach(config: EthernetConfig) -> np.ndarray:
  """Returns how far [A] a command may be from the measured pose, rad and m."""
  side = [config.reach_rad] * 3 + [config.reach_wrist_rad] * 2
  side += [config.reach_roll_rad, config.reach_gripper_mm * 1e-3]
  return np.array(side * 2, np.float32)


def make(config: EthernetConfig | None = None) -> Task:
  """Builds the task.

  Raises:
    ValueError: `config.impl` does not run here, or `config.clearance_mm` is no
      level of the task; the message lists the possible values.
  """
  config = config or EthernetConfig()
  scene = scene_lib.load(config.clearance_mm, config.timestep)
  engine = physics.make(scene.world, config.substeps, config.impl)

  def step(state: State, command: Array) -> State:
    after = _step(state, command, config=config, scene=scene, engine=engine)
    running = state.outcome == EthernetOutcome.RUNNING
    ended = state.replace(reward=jnp.zeros_like(state.reward))
    return jax.tree.map(lambda x, y: jnp.where(running, x, y), after, ended)

  return Task(
    config=config,
    spec=_spec(config, scene),
    reset=functools.partial(_reset, config=config, scene=scene),
    step=step,
    joint_positions=measures.joint_positions,
    proprio=measures.proprio,
    render=camera.make(scene.world, CAMERAS, size=IMAGE_SIZE),
    compile=jit,
    true_pose=functools.partial(measures.plug_in_socket, scene),
    goal_pose=(0.0, 0.0, -scene_lib.SOCKET_DEPTH, 0.0, 0.0, 0.0),
    tip=_tip(scene),
    make_expert=functools.partial(scripted_expert.make, scene),
    make_bench=functools.partial(_make_bench, config),
  )


def _make_bench(config: EthernetConfig) -> EthernetBench:
  return EthernetBench(config, max_reach(config))


def _spec(config: EthernetConfig, scene: scene_lib.Scene) -> TaskSpec:
  return TaskSpec(
    name=config.name,
    control_hz=config.control_hz,
    time_limit=config.time_limit,
    joint_names=bench.JOINTS,
    joint_units=bench.JOINT_UNITS,
    joint_low=numbers(scene.joint_low),
    joint_high=numbers(scene.joint_high),
    max_reach=numbers(max_reach(config)),
    proprio_names=bench.PROPRIO_NAMES,
    cameras=tuple(view.name for view in CAMERAS),
    image_size=IMAGE_SIZE,
    instruction=INSERT,
    other_instructions=(LIFT,),
    outcomes=OUTCOMES,
    # The grippers and the left arm rest in every demonstration.
    frozen_action_dims=tuple(range(6, bench.ACTION_DIM)),
  )


def _tip(scene: scene_lib.Scene) -> Tip:
  """Returns the plug's tip."""
  right = scene.right

  def pose(state: State) -> tuple[Array, Array]:
    return kinematics.tip_pose(
      right, state.qpos[:6], state.grasp_pos, state.grasp_rot
    )

  def solve(state: State, position: Array, matrix: Array) -> Array:
    arm = kinematics.solve_tip(
      right, state.qpos[:6], state.grasp_pos, state.grasp_rot, position,
      matrix, iterations=1,
    )  # fmt: skip
    return jnp.asarray(scene.home).at[:6].set(arm)

  def remaining_motion(now: Array, final: Array) -> Array:
    return kinematics.tip_displacement(right, now[:6], final[:6])

  return Tip(pose=pose, solve=solve, remaining_motion=remaining_motion)


def _reset(
  key: PRNGKey, *, config: EthernetConfig, scene: scene_lib.Scene
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
  # The start depends on the socket's height only, not on its x and y, so that
  # the arm's pose does not reveal the socket's position.
  target = jnp.asarray(scene_lib.MOUTH_HOME) + side
  target = target.at[2].set(socket_pos[2] + height)
  turn = draw(keys[6], np.deg2rad(config.start_turn_deg))
  home_mat = jnp.asarray(scene.right.base_mat)
  arm = kinematics.solve_tip(
      scene.right, jnp.zeros(6), grasp_pos, grasp_rot, target,
      kinematics.rotation(turn) @ home_mat, iterations=4,
  )  # fmt: skip
  joints = jnp.asarray(scene.home).at[:6].set(arm)
  qpos = bench.to_actuators(joints)
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
    outcome=jnp.int32(EthernetOutcome.RUNNING),
    reward=jnp.float32(0.0),
    force=jnp.float32(0.0),
  )


def _step(
  state: State,
  command: Array,
  *,
  config: EthernetConfig,
  scene: scene_lib.Scene,
  engine: physics.Engine,
) -> State:
  """Runs one control step and sets reward and outcome."""
  executed = action_space.limit_command(
    command, measures.joint_positions(state), max_reach(config),
    scene.joint_low, scene.joint_high,
  )  # fmt: skip
  moved = engine(state, bench.to_actuators(executed))
  # Contacts are the only constraints, and only the plug has contacts.
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
  state: State, *, config: EthernetConfig, scene: scene_lib.Scene
) -> State:
  """Sets reward and outcome; success overrides the other outcomes."""
  tip = measures.tip_in_socket(scene, state)
  slack = scene.clearance + config.lateral_slack_mm * 1e-3
  success = (
    (tip.depth >= config.seated_mm * 1e-3)
    & jnp.all(jnp.abs(tip.lateral) <= slack)
    & (tip.tilt <= np.deg2rad(config.tilt_limit_deg))
  )
  opening = bench.to_joints(state.qpos)[6]
  outcome = jnp.int32(EthernetOutcome.RUNNING)
  timed_out = state.steps >= config.time_limit
  dropped = opening > config.drop_opening_mm * 1e-3
  # A world that is no longer finite ends as if the force limit was exceeded.
  lost = ~jnp.all(jnp.isfinite(state.qpos))
  pressed = (state.force > config.force_limit) | lost
  for happened, code in (
    (timed_out, EthernetOutcome.TIME_OUT),
    (dropped, EthernetOutcome.DROP),
    (pressed, EthernetOutcome.FORCE_LIMIT),
    (success, EthernetOutcome.SUCCESS),
  ):
    outcome = jnp.where(happened, code, outcome)
  return state.replace(
    outcome=outcome.astype(jnp.int32),
    reward=success.astype(jnp.float32),
  )
