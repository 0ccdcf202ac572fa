"""A scripted teleoperator that imitates a person; it reads the true poses.

It reacts with a delay, moves below a speed limit, pauses, aims with an error,
notices with a delay that it is stuck, then lifts the plug and tries again. The
RL agent should become faster than it. A task gives it other settings.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks import habits
from rlt_jax.tasks.insertion import measures
from rlt_jax.tasks.insertion.person_config import PersonConfig
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
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


@chex.dataclass(frozen=True)
class PersonState:
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
  scene: Scene,
  config: PersonConfig,
  sunk: Callable[[State], Array] | None = None,
) -> ScriptedExpert:
  """Builds the expert of a scene; instruction 1 is to lift the plug away.

  Args:
    scene: of the task.
    config: the operator's settings.
    sunk: State -> [] m, how far the socket has been driven; None if it is not.
  """

  def begin(key: PRNGKey, state: State, instruction: Array) -> PersonState:
    lift = instruction == 1
    return _begin(key, state, lift, config=config, scene=scene)

  def act(
    key: PRNGKey, memory: PersonState, state: State
  ) -> tuple[PersonState, Array]:
    done = measures.tip_in_socket(scene, state).depth
    if sunk is not None:
      done = done + sunk(state)
    return _act(key, memory, state, done, config=config, scene=scene)

  return ScriptedExpert(begin=begin, act=act)


@full_precision
def _begin(
  key: PRNGKey,
  state: State,
  lift: Array,
  *,
  config: PersonConfig,
  scene: Scene,
) -> PersonState:
  keys = jax.random.split(key, 5)
  tip, mat = kinematics.tip_pose(
    scene.right, state.qpos[:6], state.grasp_pos, state.grasp_rot
  )
  degree = jnp.pi / 180
  return PersonState(
    phase=jnp.int32(Phase.WAIT),
    timer=habits.draw_steps(keys[0], config.reaction_steps),
    slip=jnp.int32(0),
    tip=tip,
    turn=kinematics.small_rotvec(mat @ jnp.asarray(scene.right.base_mat).T),
    joints=state.qpos[:6],
    aim=jax.random.normal(keys[1], (2,)) * config.aim_error_mm * 1e-3,
    aim_turn=jax.random.normal(keys[2], (3,)) * config.aim_error_deg * degree,
    attempt=jnp.int32(0),
    best_depth=jnp.float32(-1.0),
    align_speed=habits.draw_speed(keys[3], config.align_speed_mm_s),
    push_speed=habits.draw_speed(keys[4], config.push_speed_mm_s),
    rest=jnp.zeros(7),
    lift=jnp.asarray(lift),
  )


def _advance(
  key: PRNGKey,
  memory: PersonState,
  depth: Array,
  arrived: Array,
  config: PersonConfig,
) -> PersonState:
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
  timer = jnp.where(
    lined_up | backed,
    habits.draw_steps(keys[0], config.pause_steps),
    memory.timer,
  )
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


@full_precision
def _act(
  key: PRNGKey,
  memory: PersonState,
  state: State,
  done: Array,
  *,
  config: PersonConfig,
  scene: Scene,
) -> tuple[PersonState, Array]:
  """Acts; `done` [] m is how far the tip has come, to notice a stop."""
  keys = jax.random.split(key, 5)
  socket = kinematics.rotation(state.socket_rot)
  height = jnp.where(memory.lift, config.lift_mm, config.hover_mm) * 1e-3
  height = jnp.where(memory.phase == Phase.PUSH,
                     -scene.depth - config.past_mm * 1e-3, height)  # fmt: skip
  goal = state.socket_pos + socket @ jnp.append(memory.aim, height)
  goal_turn = state.socket_rot + memory.aim_turn
  arrived = (jnp.sum((goal - memory.tip) ** 2) < 4e-8) & (
    jnp.sum((goal_turn - memory.turn) ** 2) < 1e-6
  )
  slipping = memory.slip > 0
  slip = habits.slip(
    (keys[0], keys[1]), memory.slip, config.slip_rate, config.slip_steps
  )
  memory = _advance(keys[2], memory, done, arrived, config)
  still = (
    slipping | (memory.phase == Phase.WAIT) | (memory.phase == Phase.PAUSE)
  )
  speed = jnp.where(
    memory.phase == Phase.PUSH, memory.push_speed, memory.align_speed
  )
  speed = jnp.where(still, 0.0, speed)
  turn_speed = jnp.where(still, 0.0, config.turn_speed_deg_s * jnp.pi / 180)
  tip = habits.move_toward(memory.tip, goal, speed * _PERIOD)
  turn = habits.move_toward(memory.turn, goal_turn, turn_speed * _PERIOD)
  # A person feels resistance: the hand never moves far ahead of the tip.
  grasp = state.grasp_pos, state.grasp_rot
  tip_now, _ = kinematics.tip_pose(scene.right, state.qpos[:6], *grasp)
  tip = habits.move_toward(tip_now, tip, config.press_mm * 1e-3)
  tremor = jax.random.normal(keys[3], (3,)) * config.tremor_mm * 1e-3
  arm = kinematics.solve_tip(
      scene.right, memory.joints, state.grasp_pos, state.grasp_rot,
      tip + tremor,
      kinematics.rotation(turn) @ jnp.asarray(scene.right.base_mat),
      iterations=1,
  )  # fmt: skip
  rest = habits.resting_arm(keys[4], memory.rest, config.rest_tremor_rad)
  command = jnp.concatenate([arm, jnp.zeros(1), rest])
  memory = memory.replace(
      tip=tip, turn=turn, joints=arm, rest=rest, slip=slip,
      timer=memory.timer - 1,
  )  # fmt: skip
  return memory, command
