"""Scripted pushes with outcomes that geometry decides, in MJX and C MuJoCo.

Every push goes along the socket's axis, from just above the mouth to just below
the floor, with an offset and a turn that it keeps. Force and success do not end
it: where it comes to rest is looked at.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.insertion import measures
from rlt_jax.tasks.insertion.config import InsertionOutcome
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.task import Task, TaskConfig
from rlt_jax.types import Array

ABOVE = 0.002  # m over the mouth, where a push starts
_STEPS = 72  # control steps, of a push whose own way is not longer
_PAST = 0.001  # m below the floor, where it ends, if it gets there
_PERIOD = 1 / TaskConfig.control_hz  # s
_SPACING = 3e-4  # m, near enough for one Newton step
_SOLVES = 6  # Newton steps to a push's start
# Faster than any command may run ahead: the limit on commands sets the pace.
AT_THE_LIMIT = 1e3  # mm/s

Solve = Callable[[State, Array, Array, Array], np.ndarray]
Step = Callable[[State, Array], State]


class Push(NamedTuple):
  """A push, and where geometry says that it ends.

  ends: 'seated', on the 'face', or 'wedged' between the walls; tasks may have
    other words. offset: mm in the mouth's plane. turn: degrees. speed: mm/s.
  way: control steps and depths, mm below the mouth, that the command passes on
    straight lines in place of one at the speed; () for none.
  """

  name: str
  ends: str
  offset: tuple[float, float] = (0.0, 0.0)
  turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
  speed: float = 15.0
  way: tuple[tuple[float, float], ...] = ()


class Runs(NamedTuple):
  """Where pushes ended.

  depth: [T, E] m. lateral: [T, E, 2] m. success: [E], at the end. force: [E] N,
  the largest net force on the plug. driven: of `verdict.Drive`, at the end,
  leaves [E].
  """

  depth: np.ndarray
  lateral: np.ndarray
  success: np.ndarray
  force: np.ndarray
  driven: Any = None


def make_solve(task: Task, scene: Scene) -> Solve:
  """Returns (State [E], arm [E, 6], offset [E, 3], turn [E, 3]) -> arm [E, 6].

  One Newton step to a tip `offset` (m) from the mouth, in the socket's frame,
  turned by `turn` (rad) from the socket.
  """
  home = jnp.asarray(scene.right.base_mat)

  def one(state, arm, offset, turn):
    socket = kinematics.rotation(state.socket_rot)
    return kinematics.solve_tip(
      scene.right,
      arm,
      state.grasp_pos,
      state.grasp_rot,
      state.socket_pos + socket @ offset,
      socket @ kinematics.rotation(turn) @ home,
      iterations=1,
    )

  compiled = task.compile(jax.vmap(one))

  def solve(state, arm, offset, turn):
    offset, turn = np.float32(offset), np.float32(turn)
    return np.asarray(compiled(state, arm, offset, turn))

  return solve


def line_up(
  pushes: Sequence[Push], starts: State, scene: Scene, solve: Solve
) -> tuple[State, np.ndarray]:
  """Returns the starts [E] of pushes and their joint commands [T, E, A].

  The socket is moved and turned and the grasp is skewed, the same for all.

  Args:
    pushes: [E].
    starts: State [E], the first of any episodes.
    scene: of the task.
    solve: of `make_solve`.
  """
  rows = len(pushes)

  def every(*values):
    return jnp.tile(jnp.asarray(values, jnp.float32), (rows, 1))

  state = starts.replace(
    socket_pos=every(*scene.mouth_home + [0.002, -0.003, 0.0005]),
    socket_rot=every(*np.deg2rad([1.5, -2.0, 2.5])),
    grasp_pos=every(5e-4, -7e-4, 4e-4),
    grasp_rot=every(*np.deg2rad([1.0, -1.5, 0.8])),
    friction=jnp.full(rows, 0.35),
  )
  turn = np.deg2rad([push.turn for push in pushes])
  offset = np.zeros((rows, 3))
  offset[:, :2] = np.array([push.offset for push in pushes]) * 1e-3
  offset[:, 2] = ABOVE
  arm = np.zeros((rows, 6), np.float32)
  for _ in range(_SOLVES):
    arm = solve(state, arm, offset, turn)
  joints = np.zeros((rows, bench.ACTION_DIM), np.float32)
  joints[:, :6] = arm
  state = state.replace(
    qpos=jnp.asarray(bench.to_actuators(joints)), command=jnp.asarray(joints)
  )
  path = []
  deepest = scene.depth + _PAST
  for push in pushes:
    deepest = max([deepest, *(mm * 1e-3 for _, mm in push.way)])
  for depth in np.arange(-ABOVE, deepest + _SPACING / 2, _SPACING):
    offset[:, 2] = -depth
    arm = solve(state, arm, offset, turn)
    path.append(arm)
  return state, _pace(pushes, np.stack(path))


def _pace(pushes: Sequence[Push], path: np.ndarray) -> np.ndarray:
  """Returns commands [T, E, A] along paths [D, E, 6] at the pushes' speeds."""
  ends = [int(push.way[-1][0]) for push in pushes if push.way]
  count = max([_STEPS, *ends])
  commands = np.zeros((count, len(pushes), bench.ACTION_DIM), np.float32)
  for row, push in enumerate(pushes):
    steps = np.arange(1, count + 1)
    if push.way:
      times, depths = zip((0, -ABOVE * 1e3), *push.way, strict=True)
      gone = np.interp(steps, times, depths) * 1e-3 + ABOVE
    else:
      gone = steps * (push.speed * 1e-3) * _PERIOD
    index = np.clip(np.rint(gone / _SPACING).astype(int), 0, len(path) - 1)
    commands[:, row, :6] = path[index, row]
  return commands


def run_mjx(
  task: Task, scene: Scene, state: State, commands: np.ndarray, step: Step
) -> Runs:
  """Runs pushes in MJX.

  Args:
    task, scene: of them.
    state, commands: of `line_up`.
    step: (State [E], command [E, A]) -> State [E], compiled.
  """
  measure = task.compile(
    jax.vmap(lambda state: measures.tip_in_socket(scene, state))
  )
  depths, laterals, forces = [], [], []
  for command in commands:
    going = jnp.full_like(state.outcome, InsertionOutcome.RUNNING)
    state = step(state.replace(outcome=going), jnp.asarray(command))
    tip = measure(state)
    depths.append(np.asarray(tip.depth))
    laterals.append(np.asarray(tip.lateral))
    forces.append(np.asarray(state.force))
  # A blow on the floor hides the success of its step only.
  success = np.asarray(state.outcome) == InsertionOutcome.SUCCESS
  return Runs(
    np.stack(depths),
    np.stack(laterals),
    success,
    np.max(forces, axis=0),
    jax.tree.map(np.asarray, state.driven),
  )


def run_c(task: Task, state: State, commands: np.ndarray) -> Runs:
  """Runs pushes in C MuJoCo, in float64; see `run_mjx`."""
  rig = task.make_bench()
  runs = []
  for row in range(commands.shape[1]):
    rig.place(jax.tree.map(lambda x: np.asarray(x)[row], state))  # noqa: B023
    tips, forces = [], []
    for command in commands[:, row]:
      rig.set_targets(np.float64(command))
      for _ in range(task.config.substeps):
        rig.step()
      tips.append(rig.tip_in_socket().pos)
      forces.append(rig.force())
    driven = jax.tree.map(lambda x: x[0], rig.world().driven)
    runs.append((np.array(tips), rig.success(), max(forces), driven))
  tips, success, force, driven = zip(*runs, strict=True)
  tips = np.stack(tips, axis=1)
  return Runs(
    -tips[..., 2],
    tips[..., :2],
    np.array(success),
    np.array(force),
    jax.tree.map(lambda *rows: np.stack(rows), *driven),
  )
