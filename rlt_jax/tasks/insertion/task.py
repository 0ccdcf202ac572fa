"""An insertion task: pure `reset` and `step`, one world each.

Vmap them over worlds with `sim.worlds.over_worlds` and jit them with
`Task.compile`; the reason is in `sim.compilation`.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import action_space, camera, kinematics, physics, variation
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks import bench_opening, bench_sensors, bench_spec
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.insertion import measures
from rlt_jax.tasks.insertion.bench import InsertionBench
from rlt_jax.tasks.insertion.config import (
  InsertionConfig,
  InsertionOutcome,
  OUTCOMES,
)
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.insertion.verdict import Rules, TipPose
from rlt_jax.tasks.task import ScriptedExpert, Task, TaskSpec, Tip
from rlt_jax.types import Array, PRNGKey


def make_spec(
  config: InsertionConfig,
  rules: Rules,
  cameras: tuple[camera.CameraSpec, ...],
  **texts: Any,
) -> TaskSpec:
  """Returns the spec of a task; no simulator is built.

  Args:
    config: its settings.
    rules: its verdict.
    cameras: that a policy sees through.
    **texts: `image_size` and instructions, see `TaskSpec`.
  """
  failures = () if rules.drive is None else (rules.drive.failure,)
  return bench_spec.make(
    config,
    cameras,
    outcomes=OUTCOMES + failures,
    # The grippers and the left arm rest in every demonstration.
    frozen_action_dims=tuple(range(6, bench.ACTION_DIM)),
    **texts,
  )


def make(
  config: InsertionConfig,
  scene: Scene,
  rules: Rules,
  spec: TaskSpec,
  cameras: tuple[camera.CameraSpec, ...],
  *,
  make_expert: Callable[[Scene, Any], ScriptedExpert],
) -> Task:
  """Builds a task.

  Args:
    config: its settings.
    scene: compiled with them.
    rules: its verdict.
    spec: of `make_spec`.
    cameras: that a policy sees through.
    make_expert: (scene, config or None) -> its operator; the annotation of
      `config` is the class of the operator's settings.

  Raises:
    ValueError: `config.impl` does not run here.
  """
  engine = physics.make(scene.world, config.substeps, config.impl)

  def step(state: State, command: Array) -> State:
    after = _step(state, command, config=config, scene=scene, engine=engine,
                  rules=rules)  # fmt: skip
    running = state.outcome == InsertionOutcome.RUNNING
    ended = state.replace(reward=jnp.zeros_like(state.reward))
    return jax.tree.map(lambda x, y: jnp.where(running, x, y), after, ended)

  measured = bench_sensors.make(config, measures.TRUE)
  return Task(
    config=config,
    spec=spec,
    reset=functools.partial(_reset, config=config, scene=scene, rules=rules),
    step=step,
    joint_positions=measured.positions,
    joint_rates=measured.rates,
    proprio=bench_sensors.make_proprio(
      config, measured, scene.right, scene.left
    ),
    render=camera.make(scene.world, cameras, size=spec.image_size),
    # The left arm rests, and its camera looks at the socket.
    view=camera.make_view(scene.world, cameras[1]),
    compile=jit,
    true_pose=functools.partial(
      _true_pose, config=config, scene=scene, rules=rules
    ),
    goal_pose=(0.0, 0.0, -scene.depth, 0.0, 0.0, 0.0),
    tip=_tip(scene),
    make_expert=functools.partial(make_expert, scene),
    make_bench=functools.partial(InsertionBench, config, scene, rules),
  )


def _tip(scene: Scene) -> Tip:
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


@full_precision
def _reset(
  key: PRNGKey, *, config: InsertionConfig, scene: Scene, rules: Rules
) -> State:
  """Draws an episode: socket, grasp, friction, start pose and variation."""
  keys, drive = jax.random.split(key, 8), rules.drive

  def draw(k: PRNGKey, size: Array) -> Array:
    return jax.random.uniform(k, (3,), minval=-size, maxval=size)

  side, lift = config.socket_shift_mm, config.socket_lift_mm
  shift = draw(keys[0], 1.0) * 1e-3 * jnp.array([side, side, lift])
  socket_pos = jnp.asarray(scene.mouth_home) + shift
  grasp_pos = draw(keys[2], config.grasp_shift_mm * 1e-3)
  grasp_rot = draw(keys[3], np.deg2rad(config.grasp_turn_deg))
  low, high = config.start_height_mm
  height = jax.random.uniform(keys[4], minval=low, maxval=high) * 1e-3
  side = draw(keys[5], config.start_shift_mm * 1e-3)
  # The start depends on the socket's height only, not on its x and y, so that
  # the arm's pose does not reveal the socket's position.
  target = jnp.asarray(scene.mouth_home) + side
  target = target.at[2].set(socket_pos[2] + height)
  turn = draw(keys[6], np.deg2rad(config.start_turn_deg))
  home_mat = jnp.asarray(scene.right.base_mat)
  arm = kinematics.solve_tip(
      scene.right, jnp.asarray(scene.home[:6]), grasp_pos, grasp_rot, target,
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
    socket_rot=draw(keys[1], np.deg2rad(config.socket_turns_deg)),
    entered=jnp.asarray(rules.start),
    driven=None if drive is None else jax.tree.map(jnp.asarray, drive.start),
    friction=jax.random.uniform(
      keys[7], minval=config.friction[0], maxval=config.friction[1]
    ),
    steps=jnp.int32(0),
    outcome=jnp.int32(InsertionOutcome.RUNNING),
    reward=jnp.float32(0.0),
    force=jnp.float32(0.0),
    # Folded in, so that all other draws are as without it.
    variation=variation.draw(
      jax.random.fold_in(key, len(keys)), bench_sensors.ranges(config),
      scene.mj_model.ncam,
    ),
    tighter=bench_opening.draw(
      jax.random.fold_in(key, len(keys) + 1), config
    ),
  )  # fmt: skip


@full_precision
def _step(
  state: State,
  command: Array,
  *,
  config: InsertionConfig,
  scene: Scene,
  engine: physics.Engine,
  rules: Rules,
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
  before = measures.tip_pose(scene, state)
  state = state.replace(
    qpos=moved.qpos,
    qvel=moved.qvel,
    warmstart=moved.warmstart,
    command=executed,
    steps=state.steps + 1,
    force=jnp.max(jnp.linalg.norm(forces, axis=-1)),
  )
  return _judge(state, before, forces, config=config, scene=scene, rules=rules)


def _judge(
  state: State,
  before: TipPose,
  forces: Array,
  *,
  config: InsertionConfig,
  scene: Scene,
  rules: Rules,
) -> State:
  """Sets reward and outcome.

  Success overrides the time limit and an open gripper. The force limit
  overrides success: a plug that is rammed home is no success.

  Args:
    state: after the physics.
    before: the tip before it, in the socket's frame.
    forces: [S, 3] N, of the socket on the plug, world.
    config, scene, rules: of the task.
  """
  tip = measures.tip_pose(scene, state)
  entered = rules.enter(config, before, tip, state.entered)
  seated = rules.seated(config, tip, entered)
  spoiled = False
  if rules.drive is not None:
    state = _drive(state, tip, entered, forces, config=config, rules=rules)
    seated = seated & rules.drive.done(config, state.driven)
    spoiled = rules.drive.failed(config, state.driven)
  opening = bench.to_joints(state.qpos)[6]
  outcome = jnp.int32(InsertionOutcome.RUNNING)
  timed_out = state.steps >= config.time_limit
  dropped = opening > config.drop_opening_mm * 1e-3
  # A world that is no longer finite ends as if the force limit was exceeded.
  lost = ~jnp.all(jnp.isfinite(state.qpos))
  pressed = (state.force > config.force_limit) | lost
  for happened, code in (
    (timed_out, InsertionOutcome.TIME_OUT),
    (dropped, InsertionOutcome.DROP),
    (spoiled, InsertionOutcome.SPOILED),
    (seated, InsertionOutcome.SUCCESS),
    (pressed, InsertionOutcome.FORCE_LIMIT),
  ):
    outcome = jnp.where(happened, code, outcome)
  return state.replace(
    entered=entered,
    outcome=outcome.astype(jnp.int32),
    reward=(outcome == InsertionOutcome.SUCCESS).astype(jnp.float32),
  )


def _drive(
  state: State,
  tip: TipPose,
  entered: Array,
  forces: Array,
  *,
  config: InsertionConfig,
  rules: Rules,
) -> State:
  """Advances what the tip drives and moves the socket with it."""
  drive = rules.drive
  axis = kinematics.rotation(state.socket_rot)[:, 2]
  push = jnp.mean(forces, axis=0) @ axis
  driven = drive.advance(config, tip, entered, push, state.driven)
  sunk = drive.sunk(config, driven) - drive.sunk(config, state.driven)
  return state.replace(driven=driven, socket_pos=state.socket_pos - sunk * axis)


def _true_pose(
  state: State, *, config: InsertionConfig, scene: Scene, rules: Rules
) -> Array:
  """Returns the tip's pose [6] in the socket, where it is at success."""
  pose, drive = measures.plug_in_socket(scene, state), rules.drive
  if drive is None:
    return pose
  ahead = drive.travel(config) - drive.sunk(config, state.driven)
  return pose.at[2].add(ahead)
