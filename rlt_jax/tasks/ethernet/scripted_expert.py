"""A scripted teleoperator that imitates a person; it reads the true poses.

It reacts with a delay, moves below a speed limit, pauses, aims with an error,
notices with a delay that it is stuck, then lifts the plug and tries again. The
RL agent should become faster than it.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.tasks.ethernet import measures
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.state import State
from rlt_jax.tasks.task import ScriptedExpert, TaskConfig
from rlt_jax.types import Array, PRNGKey

_PERIOD = 1.0 / TaskConfig.control_hz  # s


class Phase:
  """Phases of an episode."""

  WAIT = 0
  ALIGN = 1
  PAUSE = 2
  PUSH = 3
  BACK = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig:
  """Settings; chosen so that the median on Ethernet is near 146 steps."""

  reaction_steps: tuple[int, int] = (8, 20)  # before the first motion
  align_speed_mm_s: tuple[float, float] = (11.0, 22.0)  # limit, per episode
  push_speed_mm_s: tuple[float, float] = (9.0, 17.0)
  turn_speed_deg_s: float = 9.0
  hover_mm: float = 3.0  # above the mouth, where it aligns the plug
  aim_error_mm: float = 0.6  # std of the first attempt, per axis
  aim_error_deg: float = 0.6
  aim_gain: float = 0.5  # error of each attempt relative to the one before
  pause_steps: tuple[int, int] = (8, 30)  # before a push
  slip_rate: float = 0.006  # probability per step of an unmotivated stop
  slip_steps: tuple[int, int] = (6, 18)
  stuck_steps: int = 18  # without progress until it ends a push
  stuck_mm: float = 0.25  # least progress during stuck_steps
  press_mm: float = 2.5  # how far it pushes ahead of the measured tip
  tremor_mm: float = 0.04  # std of the moving hand's tremor
  rest_tremor_rad: float = 3e-4  # std of the resting arm's
  lift_mm: float = 25.0  # end of a lift, above the mouth


@chex.dataclass(frozen=True)
class ExpertState:
  """The operator's memory, one world. Units: m, rad, steps.

  tip, turn: [3] the commanded tip and its rotation vector from home.
  joints: [6] the arm command for them. aim: [2], aim_turn: [3] the error of the
  current attempt. rest: [7] the other arm's tremor.
  """

  phase: Array
  timer: Array
  slip: Array
  tip: Array
  turn: Array
  joints: Array
  aim: Array
  aim_turn: Array
  attempt: Array
  best_depth: Array
  align_speed: Array
  push_speed: Array
  rest: Array
  lift: Array


def make(
  scene: scene_lib.Scene, config: ExpertConfig | None = None
) -> ScriptedExpert:
  """Builds the expert of a scene; instruction 1 is to lift the plug away."""
  config = config or ExpertConfig()

  def begin(key: PRNGKey, state: State, instruction: Array) -> ExpertState:
    lift = instruction == 1
    return _begin(key, state, lift, config=config, scene=scene)

  def act(
    key: PRNGKey, memory: ExpertState, state: State
  ) -> tuple[ExpertState, Array]:
    return _act(key, memory, state, config=config, scene=scene)

  return ScriptedExpert(begin=begin, act=act)


def _begin(
  key: PRNGKey,
  state: State,
  lift: Array,
  *,
  config: ExpertConfig,
  scene: scene_lib.Scene,
) -> ExpertState:
  keys = jax.random.split(key, 5)
  tip, mat = kinematics.tip_pose(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot
  )
  degree = jnp.pi / 180
  return ExpertState(
    phase=jnp.int32(Phase.WAIT),
    timer=_draw_steps(keys[0], config.reaction_steps),
    slip=jnp.int32(0),
    tip=tip,
    turn=kinematics.small_rotvec(mat @ jnp.asarray(scene.right.base_mat).T),
    joints=state.qpos[:6],
    aim=jax.random.normal(keys[1], (2,)) * config.aim_error_mm * 1e-3,
    aim_turn=jax.random.normal(keys[2], (3,)) * config.aim_error_deg * degree,
    attempt=jnp.int32(0),
    best_depth=jnp.float32(-1.0),
    align_speed=jax.random.uniform(
      keys[3],
      minval=config.align_speed_mm_s[0],
      maxval=config.align_speed_mm_s[1],
    )
    * 1e-3,
    push_speed=jax.random.uniform(
      keys[4],
      minval=config.push_speed_mm_s[0],
      maxval=config.push_speed_mm_s[1],
    )
    * 1e-3,
    rest=jnp.zeros(7),
    lift=jnp.asarray(lift),
  )


def _advance(
  key: PRNGKey,
  memory: ExpertState,
  depth: Array,
  arrived: Array,
  config: ExpertConfig,
) -> ExpertState:
  """Enters the next phase if the current one has ended."""
  keys = jax.random.split(key, 3)
  ready = memory.timer <= 0
  waiting = (memory.phase == Phase.WAIT) & ready
  lined_up = (memory.phase == Phase.ALIGN) & arrived & ~memory.lift
  rested = (memory.phase == Phase.PAUSE) & ready
  backed = (memory.phase == Phase.BACK) & arrived
  pushing = memory.phase == Phase.PUSH
  progress = depth > memory.best_depth + config.stuck_mm * 1e-3
  stuck = pushing & ready & ~progress
  phase = memory.phase
  phase = jnp.where(waiting, Phase.ALIGN, phase)
  phase = jnp.where(lined_up | backed, Phase.PAUSE, phase)
  phase = jnp.where(rested, Phase.PUSH, phase)
  phase = jnp.where(stuck, Phase.BACK, phase)
  timer = jnp.where(lined_up | backed, _draw_steps(keys[0], config.pause_steps),
                    memory.timer)  # fmt: skip
  fresh_push = rested | (pushing & progress)
  timer = jnp.where(fresh_push, config.stuck_steps, timer)
  shrink = config.aim_gain ** (memory.attempt + 1).astype(jnp.float32)
  aim = jax.random.normal(keys[1], (2,)) * config.aim_error_mm * 1e-3 * shrink
  turn = jax.random.normal(keys[2], (3,)) * jnp.pi / 180
  turn = turn * config.aim_error_deg * shrink
  return memory.replace(
    phase=phase,
    timer=timer,
    aim=jnp.where(stuck, aim, memory.aim),
    aim_turn=jnp.where(stuck, turn, memory.aim_turn),
    attempt=memory.attempt + stuck,
    best_depth=jnp.where(fresh_push, depth, memory.best_depth),
  )


def _draw_steps(key: PRNGKey, span: tuple[int, int]) -> Array:
  return jax.random.randint(key, (), span[0], span[1] + 1)


def _move_toward(value: Array, goal: Array, step: Array) -> Array:
  """Moves a vector toward a goal by at most `step` in length."""
  gap = goal - value
  length = jnp.sqrt(jnp.sum(gap**2) + 1e-12)
  return value + gap * jnp.minimum(1.0, step / length)


def _act(
  key: PRNGKey,
  memory: ExpertState,
  state: State,
  *,
  config: ExpertConfig,
  scene: scene_lib.Scene,
) -> tuple[ExpertState, Array]:
  keys = jax.random.split(key, 5)
  measured = measures.tip_in_socket(scene, state)
  socket = kinematics.rotation(state.socket_rot)
  height = jnp.where(memory.lift, config.lift_mm, config.hover_mm) * 1e-3
  height = jnp.where(memory.phase == Phase.PUSH,
                     -scene_lib.SOCKET_DEPTH - 0.001, height)  # fmt: skip
  goal = state.socket_pos + socket @ jnp.append(memory.aim, height)
  goal_turn = state.socket_rot + memory.aim_turn
  arrived = (jnp.sum((goal - memory.tip) ** 2) < 4e-8) & (
    jnp.sum((goal_turn - memory.turn) ** 2) < 1e-6
  )
  slipping = memory.slip > 0
  slip = jnp.where(
    jax.random.uniform(keys[0]) < config.slip_rate,
    _draw_steps(keys[1], config.slip_steps),
    memory.slip - 1,
  )
  memory = _advance(keys[2], memory, measured.depth, arrived, config)
  still = (
    slipping | (memory.phase == Phase.WAIT) | (memory.phase == Phase.PAUSE)
  )
  speed = jnp.where(
    memory.phase == Phase.PUSH, memory.push_speed, memory.align_speed
  )
  speed = jnp.where(still, 0.0, speed)
  turn_speed = jnp.where(still, 0.0, config.turn_speed_deg_s * jnp.pi / 180)
  tip = _move_toward(memory.tip, goal, speed * _PERIOD)
  turn = _move_toward(memory.turn, goal_turn, turn_speed * _PERIOD)
  # A person feels resistance: the hand never moves far ahead of the tip.
  grasp = state.grasp_pos, state.grasp_rot
  tip_now, _ = kinematics.tip_pose(scene.right, state.qpos[:6], *grasp)
  tip = _move_toward(tip_now, tip, config.press_mm * 1e-3)
  tremor = jax.random.normal(keys[3], (3,)) * config.tremor_mm * 1e-3
  arm = kinematics.solve_tip(
      scene.right, memory.joints, state.grasp_pos, state.grasp_rot,
      tip + tremor,
      kinematics.rotation(turn) @ jnp.asarray(scene.right.base_mat),
      iterations=1,
  )  # fmt: skip
  rest = 0.95 * memory.rest + jax.random.normal(keys[4], (7,)) * (
    config.rest_tremor_rad * 0.31
  )
  command = jnp.concatenate([arm, jnp.zeros(1), rest])
  memory = memory.replace(
      tip=tip, turn=turn, joints=arm, rest=rest, slip=slip,
      timer=memory.timer - 1,
  )  # fmt: skip
  return memory, command
