"""The teleoperator of the zip tie task; it reads the true poses.

Like the other tasks' it reacts with a delay, moves below a speed limit, pauses,
aims with an error, and begins again when it is stuck. Both hands move: they
meet in the middle, then each makes half of the push. When the strap has come
through, it stops to look, then draws the strap tight.
"""

import chex
import jax
import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks import habits
from rlt_jax.tasks.task import ScriptedExpert, TaskConfig
from rlt_jax.tasks.zip_tie import hands, measures
from rlt_jax.tasks.zip_tie import strap as strap_lib
from rlt_jax.tasks.zip_tie.expert_config import ExpertConfig
from rlt_jax.tasks.zip_tie.scene import MOUTH_HOME, Scene
from rlt_jax.tasks.zip_tie.state import State
from rlt_jax.types import Array, PRNGKey

_PERIOD = 1.0 / TaskConfig.control_hz  # s
_PAST = 0.006  # m beyond the goal, so that a hand presses until it is reached


class Phase:
  """Phases of an episode."""

  WAIT = 0
  ALIGN = 1
  PAUSE = 2
  PUSH = 3
  BACK = 4
  LOOK = 5
  TIGHTEN = 6


@chex.dataclass(frozen=True)
class Hand:
  """Where a hand's part is to be now: place [3] m, world, and rotation vector
  [3] from home, rad."""

  place: Array
  turn: Array


@chex.dataclass(frozen=True)
class PersonState:
  """The operator's memory, one world. Units: m, rad, steps.

  tail, head: the hands. joints: [A] their last command. meet, level: [3] where
  the mouth is to be, and its turn from home. aim: [2], aim_turn: [3] the error
  of the current attempt. apart: bool, the other instruction.
  """

  phase: Array
  timer: Array
  slip: Array
  tail: Hand
  head: Hand
  joints: Array
  meet: Array
  level: Array
  aim: Array
  aim_turn: Array
  attempt: Array
  best_depth: Array
  align_speed: Array
  push_speed: Array
  tighten_speed: Array
  apart: Array


def make(scene: Scene, config: ExpertConfig | None = None) -> ScriptedExpert:
  """Builds the expert of a scene; instruction 1 is to part the hands."""
  config = config or ExpertConfig()

  def begin(key: PRNGKey, state: State, instruction: Array) -> PersonState:
    return _begin(key, state, instruction == 1, config=config, scene=scene)

  def act(
    key: PRNGKey, memory: PersonState, state: State
  ) -> tuple[PersonState, Array]:
    return _act(key, memory, state, config=config, scene=scene)

  return ScriptedExpert(begin=begin, act=act)


@full_precision
def _begin(
  key: PRNGKey,
  state: State,
  apart: Array,
  *,
  config: ExpertConfig,
  scene: Scene,
) -> PersonState:
  keys = jax.random.split(key, 8)
  held = []
  for chain, (place, mat) in (
    (scene.right, strap_lib.grasped(scene, state)),
    (scene.head, strap_lib.mouth(scene, state)),
  ):
    turn = kinematics.small_rotvec(mat @ jnp.asarray(chain.base_mat).T)
    held.append(Hand(place=place, turn=turn))
  meet = jax.random.uniform(keys[6], (3,), minval=-1.0) * config.meet_mm * 1e-3
  degree = jnp.pi / 180
  return PersonState(
    phase=jnp.int32(Phase.WAIT),
    timer=habits.draw_steps(keys[0], config.reaction_steps),
    slip=jnp.int32(0),
    tail=held[0],
    head=held[1],
    joints=measures.joint_positions(state),
    meet=jnp.asarray(MOUTH_HOME) + meet,
    level=jax.random.normal(keys[7], (3,)) * config.aim_error_deg * degree,
    aim=jax.random.normal(keys[1], (2,)) * config.aim_error_mm * 1e-3,
    aim_turn=jax.random.normal(keys[2], (3,)) * config.aim_error_deg * degree,
    attempt=jnp.int32(0),
    best_depth=jnp.float32(-1.0),
    align_speed=habits.draw_speed(keys[3], config.align_speed_mm_s),
    push_speed=habits.draw_speed(keys[4], config.push_speed_mm_s),
    tighten_speed=habits.draw_speed(keys[5], config.tighten_speed_mm_s),
    apart=jnp.asarray(apart),
  )


def _advance(
  key: PRNGKey,
  memory: PersonState,
  strap: strap_lib.StrapPose,
  arrived: Array,
  through: Array,
  config: ExpertConfig,
) -> PersonState:
  """Enters the next phase if the current one has ended."""
  keys = jax.random.split(key, 4)
  depth, ready = -strap.tip[2], memory.timer <= 0
  waiting = (memory.phase == Phase.WAIT) & ready
  lined_up = (memory.phase == Phase.ALIGN) & arrived & ~memory.apart
  rested = (memory.phase == Phase.PAUSE) & ready
  backed = (memory.phase == Phase.BACK) & arrived
  pushing = memory.phase == Phase.PUSH
  progress = depth > memory.best_depth + config.stuck_mm * 1e-3
  bent = jnp.sum(jnp.abs(strap.bends)) > config.bend_deg * jnp.pi / 180
  stuck = pushing & ((ready & ~progress) | bent) & ~through
  looks = pushing & through
  seen = (memory.phase == Phase.LOOK) & ready
  phase = memory.phase
  for ended, following in (
    (waiting, Phase.ALIGN),
    (lined_up | backed, Phase.PAUSE),
    (rested, Phase.PUSH),
    (stuck, Phase.BACK),
    (looks, Phase.LOOK),
    (seen, Phase.TIGHTEN),
  ):
    phase = jnp.where(ended, following, phase)
  fresh_push = rested | (pushing & progress)
  timer = memory.timer
  for begins, steps in (
    (lined_up | backed, habits.draw_steps(keys[0], config.pause_steps)),
    (fresh_push, config.stuck_steps),
    (looks, habits.draw_steps(keys[1], config.look_steps)),
  ):
    timer = jnp.where(begins, steps, timer)
  shrink = config.aim_gain ** (memory.attempt + 1).astype(jnp.float32)
  aim = jax.random.normal(keys[2], (2,)) * config.aim_error_mm * 1e-3 * shrink
  turn = jax.random.normal(keys[3], (3,)) * jnp.pi / 180
  turn = turn * config.aim_error_deg * shrink
  return memory.replace(
    phase=phase,
    timer=timer,
    aim=jnp.where(stuck, aim, memory.aim),
    aim_turn=jnp.where(stuck, turn, memory.aim_turn),
    attempt=memory.attempt + stuck,
    best_depth=jnp.where(fresh_push, depth, memory.best_depth),
  )


def _goals(
  memory: PersonState, state: State, config: ExpertConfig, scene: Scene
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
  """Returns place [3] and turn [3] of the tip, and of the mouth."""
  mouth, head = strap_lib.mouth(scene, state)
  head_home = jnp.asarray(scene.head.base_mat)
  head_turn = kinematics.small_rotvec(head @ head_home.T)
  pushing = (memory.phase == Phase.PUSH) | (memory.phase == Phase.TIGHTEN)
  height = jnp.where(memory.apart, config.apart_mm, config.hover_mm) * 1e-3
  deep = -scene.config.tight_mm * 1e-3 - _PAST
  tip = jnp.append(memory.aim, jnp.where(pushing, deep, height))
  # Each hand makes half of the push.
  half = 0.5 * config.hover_mm * 1e-3 - 0.5 * deep
  rise = jnp.where(pushing | (memory.phase == Phase.LOOK), half, 0.0)
  rise = jnp.where(memory.phase == Phase.TIGHTEN, half + _PAST, rise)
  rise = jnp.where(memory.apart, -0.5e-3 * config.apart_mm, rise)
  meet = memory.meet.at[2].add(rise)
  return (mouth + head @ tip, head_turn + memory.aim_turn), (meet, memory.level)


def _move(
  hand: Hand,
  goal: tuple[Array, Array],
  now: Array,
  speeds: tuple[Array, Array],
  press: float,
) -> Hand:
  """Moves a hand's command toward its goal, at most `press` m from `now`."""
  place = habits.move_toward(hand.place, goal[0], speeds[0] * _PERIOD)
  turn = habits.move_toward(hand.turn, goal[1], speeds[1] * _PERIOD)
  # A person feels resistance: the hand never moves far ahead of its part.
  return hand.replace(place=habits.move_toward(now, place, press), turn=turn)


@full_precision
def _act(
  key: PRNGKey,
  memory: PersonState,
  state: State,
  *,
  config: ExpertConfig,
  scene: Scene,
) -> tuple[PersonState, Array]:
  keys = jax.random.split(key, 5)
  tip_goal, mouth_goal = _goals(memory, state, config, scene)
  arrived = jnp.bool_(True)
  for hand, goal in ((memory.tail, tip_goal), (memory.head, mouth_goal)):
    arrived &= jnp.sum((goal[0] - hand.place) ** 2) < 1e-7
    arrived &= jnp.sum((goal[1] - hand.turn) ** 2) < 1e-5
  slipping = memory.slip > 0
  slip = habits.slip(
    (keys[0], keys[1]), memory.slip, config.slip_rate, config.slip_steps
  )
  strap = strap_lib.pose(scene, state)
  memory = _advance(keys[2], memory, strap, arrived, state.caught > 0.0, config)
  phase = memory.phase
  still = slipping | (phase == Phase.WAIT)
  still |= (phase == Phase.PAUSE) | (phase == Phase.LOOK)
  # Each hand makes half of a push, so each has half of its speed.
  speed = jnp.where(phase == Phase.PUSH, memory.push_speed * 0.5,
                    memory.align_speed)  # fmt: skip
  speed = jnp.where(phase == Phase.TIGHTEN, memory.tighten_speed * 0.5, speed)
  speeds = (
    jnp.where(still, 0.0, speed),
    jnp.where(still, 0.0, config.turn_speed_deg_s * jnp.pi / 180),
  )
  press, tremor = config.press_mm * 1e-3, config.tremor_mm * 1e-3
  tail = _move(
    memory.tail, tip_goal, strap_lib.grasped(scene, state)[0], speeds, press
  )
  head = _move(
    memory.head, mouth_goal, strap_lib.mouth(scene, state)[0], speeds, press
  )
  noise = jax.random.normal(keys[3], (2, 3)) * tremor
  grasps = (
    (state.strap_pos, state.strap_rot), (state.head_pos, state.head_rot)
  )  # fmt: skip
  places = tail.place + noise[0], head.place + noise[1]
  command = hands.solve(
    scene, memory.joints, grasps, places, (tail.turn, head.turn), iterations=1
  )
  memory = memory.replace(
    tail=tail, head=head, joints=command, slip=slip, timer=memory.timer - 1
  )
  return memory, command
