"""The zip tie task: a strap through its head's slot, then drawn tight.

Pure `reset` and `step`, one world each. Vmap them over worlds with
`sim.worlds.over_worlds` and jit them with `Task.compile`; the reason is in
`sim.compilation`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import action_space, camera, kinematics, physics, variation
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks import bench_opening, bench_sensors, bench_spec
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.task import Task, TaskSpec, Tip
from rlt_jax.tasks.zip_tie import hands, measures, scripted_expert, verdict
from rlt_jax.tasks.zip_tie import scene as scene_lib
from rlt_jax.tasks.zip_tie import strap as strap_lib
from rlt_jax.tasks.zip_tie.bench import ZipTieBench
from rlt_jax.tasks.zip_tie.config import OUTCOMES, ZipTieConfig, ZipTieOutcome
from rlt_jax.tasks.zip_tie.scene import Scene
from rlt_jax.tasks.zip_tie.state import arms, State
from rlt_jax.types import Array, PRNGKey

FASTEN = 'thread the zip tie and pull it tight'
PHRASINGS = (
  'fasten the zip tie',
  'push the strap through the head of the zip tie and tighten it',
  'thread the strap through the slot, then tighten the zip tie',
  'close the zip tie',
)
APART = 'take the strap away from the head'
IMAGE_SIZE = 64

# The wrist cameras see only a small region around tip and slot.
_NEAR = (
    'bench', 'wall_', 'head_', 'strap_', 'tip_', 'right_finger', 'left_finger',
    'right_hand', 'left_hand',
)  # fmt: skip
_INSIDE_THE_WALLS = ('rim_',)
# The second number is rays per pixel side: the strap is two pixels thick.
CAMERAS = (
  camera.CameraSpec('base', 2, None, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_left', 2, _NEAR, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_right', 2, _NEAR, _INSIDE_THE_WALLS),
)
_GRIPPERS = tuple(i for i, unit in enumerate(bench.JOINT_UNITS) if unit == 'm')
_SOLVES = 6  # Newton steps from the arms' home to a start


def make(config: ZipTieConfig | None = None) -> Task:
  """Builds the task.

  Raises:
    ValueError: `config.impl` does not run here.
  """
  config = config or ZipTieConfig()
  scene = scene_lib.load(config)
  engine = physics.make(scene.world, config.substeps, config.impl)

  def step(state: State, command: Array) -> State:
    after = _step(state, command, config=config, scene=scene, engine=engine)
    running = state.outcome == ZipTieOutcome.RUNNING
    ended = state.replace(reward=jnp.zeros_like(state.reward))
    return jax.tree.map(lambda x, y: jnp.where(running, x, y), after, ended)

  measured = bench_sensors.make(config, measures.TRUE)
  return Task(
    config=config,
    spec=make_spec(config),
    reset=functools.partial(_reset, config=config, scene=scene),
    step=step,
    joint_positions=measured.positions,
    joint_rates=measured.rates,
    proprio=bench_sensors.make_proprio(
      config, measured, scene.right, scene.left
    ),
    render=camera.make(scene.world, CAMERAS, size=IMAGE_SIZE),
    view=camera.make_view(scene.world, CAMERAS[1]),  # looks at the slot
    compile=jit,
    true_pose=functools.partial(strap_lib.true_pose, scene),
    goal_pose=(0.0, 0.0, -config.tight_mm * 1e-3, 0.0, 0.0, 0.0),
    tip=_tip(scene),
    make_expert=functools.partial(scripted_expert.make, scene),
    make_bench=functools.partial(ZipTieBench, config, scene),
  )


def make_spec(config: ZipTieConfig | None = None) -> TaskSpec:
  """Returns the spec of the task; no simulator is built."""
  config = config or ZipTieConfig()
  return bench_spec.make(
    config,
    CAMERAS,
    image_size=IMAGE_SIZE,
    instruction=FASTEN,
    phrasings=PHRASINGS,
    other_instructions=(APART,),
    outcomes=OUTCOMES,
    # The grippers rest in every demonstration; both arms move.
    frozen_action_dims=_GRIPPERS,
  )


def _tip(scene: Scene) -> Tip:
  """Returns the straight strap's tip, which the right arm moves."""
  right = scene.right

  def solve(state: State, position: Array, matrix: Array) -> Array:
    arm = kinematics.solve_tip(
      right, state.qpos[:6], state.strap_pos, state.strap_rot, position,
      matrix, iterations=1,
    )  # fmt: skip
    return state.command.at[:6].set(arm)

  def remaining_motion(now: Array, final: Array) -> Array:
    return kinematics.tip_displacement(right, now[:6], final[:6])

  return Tip(
    pose=functools.partial(strap_lib.grasped, scene),
    solve=solve,
    remaining_motion=remaining_motion,
  )


@full_precision
def _reset(key: PRNGKey, *, config: ZipTieConfig, scene: Scene) -> State:
  """Draws an episode: both hands, both grasps, friction and variation."""
  keys = jax.random.split(key, 10)

  def draw(k: PRNGKey, size: float) -> Array:
    return jax.random.uniform(k, (3,), minval=-size, maxval=size)

  shift, turn = config.grasp_shift_mm * 1e-3, np.deg2rad(config.grasp_turn_deg)
  strap = draw(keys[0], shift), draw(keys[1], turn)
  head = draw(keys[2], shift), draw(keys[3], turn)
  home = jnp.asarray(scene_lib.MOUTH_HOME)
  mouth = home + draw(keys[4], config.head_shift_mm * 1e-3)
  low, high = config.start_height_mm
  height = jax.random.uniform(keys[5], minval=low, maxval=high) * 1e-3
  # As the head's place in x and y, the tip's is drawn about the mean mouth.
  tip = home + draw(keys[6], config.start_shift_mm * 1e-3)
  tip = tip.at[2].set(mouth[2] + height)

  turns = (
    draw(keys[7], np.deg2rad(config.start_turn_deg)),
    draw(keys[8], np.deg2rad(config.head_turn_deg)),
  )
  joints = hands.solve(
    scene, jnp.zeros(bench.ACTION_DIM), (strap, head), (tip, mouth), turns,
    iterations=_SOLVES,
  )  # fmt: skip
  moved = bench.to_actuators(joints)
  qpos = jnp.concatenate([moved[:8], jnp.zeros(2), moved[8:]])
  zeros = jnp.zeros_like(qpos)
  return State(
    qpos=qpos,
    qvel=zeros,
    warmstart=zeros,
    command=joints,
    strap_pos=strap[0],
    strap_rot=strap[1],
    head_pos=head[0],
    head_rot=head[1],
    entered=jnp.bool_(False),
    caught=jnp.float32(0.0),
    friction=jax.random.uniform(
      keys[9], minval=config.friction[0], maxval=config.friction[1]
    ),
    steps=jnp.int32(0),
    outcome=jnp.int32(ZipTieOutcome.RUNNING),
    reward=jnp.float32(0.0),
    force=jnp.float32(0.0),
    # Folded in, so that all other draws are as without it.
    variation=variation.draw(
      jax.random.fold_in(key, len(keys)),
      bench_sensors.ranges(config),
      scene.mj_model.ncam,
    ),
    tighter=bench_opening.draw(jax.random.fold_in(key, len(keys) + 1), config),
  )


@full_precision
def _step(
  state: State,
  command: Array,
  *,
  config: ZipTieConfig,
  scene: Scene,
  engine: physics.Engine,
) -> State:
  """Runs one control step and sets reward and outcome."""
  executed = action_space.limit_command(
    command, measures.joint_positions(state), max_reach(config),
    scene.joint_low, scene.joint_high,
  )  # fmt: skip
  moved = engine(state, bench.to_actuators(executed))
  # Contacts and the pawl are the only constraints, and only the strap has them.
  forces = kinematics.tip_force(
    scene.right, state.qpos[:6], state.strap_pos, state.strap_rot, moved.torques
  )
  before = strap_lib.pose(scene, state)
  state = state.replace(
    qpos=moved.qpos,
    qvel=moved.qvel,
    warmstart=moved.warmstart,
    command=executed,
    steps=state.steps + 1,
    force=jnp.max(jnp.linalg.norm(forces, axis=-1)),
  )
  return _judge(state, before, config=config, scene=scene)


def _judge(
  state: State,
  before: strap_lib.StrapPose,
  *,
  config: ZipTieConfig,
  scene: Scene,
) -> State:
  """Sets reward and outcome.

  Success overrides the time limit and an open gripper. The limits of bend and
  force override success.
  """
  now = strap_lib.pose(scene, state)
  entered = verdict.enter(config, before, now, state.entered)
  caught = verdict.catch(config, now, entered, state.caught)
  opening = jnp.max(bench.to_joints(arms(state.qpos))[jnp.array(_GRIPPERS)])
  # A world that is no longer finite ends as if the force limit was exceeded.
  lost = ~jnp.all(jnp.isfinite(state.qpos))
  outcome = jnp.int32(ZipTieOutcome.RUNNING)
  for happened, code in (
    (state.steps >= config.time_limit, ZipTieOutcome.TIME_OUT),
    (opening > config.drop_opening_mm * 1e-3, ZipTieOutcome.DROP),
    (verdict.tight(config, now, entered), ZipTieOutcome.SUCCESS),
    (verdict.buckled(config, now), ZipTieOutcome.BUCKLED),
    ((state.force > config.force_limit) | lost, ZipTieOutcome.FORCE_LIMIT),
  ):
    outcome = jnp.where(happened, code, outcome)
  return state.replace(
    entered=entered,
    caught=caught.astype(jnp.float32),
    outcome=outcome.astype(jnp.int32),
    reward=(outcome == ZipTieOutcome.SUCCESS).astype(jnp.float32),
  )
