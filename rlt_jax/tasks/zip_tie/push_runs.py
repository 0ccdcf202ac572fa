"""Runs scripted pushes of the strap, in MJX and in C MuJoCo.

The head is held still. Every push goes along the slot's axis, from just above
the mouth to beyond the tight strap, with an offset and a turn that the grasp
keeps, until the episode ends or the hand has stopped.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.insertion.pushes import Push
from rlt_jax.tasks.task import Task, TaskConfig
from rlt_jax.tasks.zip_tie import hands
from rlt_jax.tasks.zip_tie import strap as strap_lib
from rlt_jax.tasks.zip_tie.config import ZipTieOutcome
from rlt_jax.tasks.zip_tie.scene import MOUTH_HOME, Scene
from rlt_jax.tasks.zip_tie.state import State
from rlt_jax.types import Array

ABOVE = 0.002  # m over the mouth, where a push starts
STEPS = 104  # control steps
# m beyond the tight strap, where the hand would stop: the bundle pushes back.
_PAST = 0.007
_PERIOD = 1 / TaskConfig.control_hz  # s
_SPACING = 3e-4  # m, near enough for one Newton step
_SOLVES = 8  # Newton steps to a push's start

Solve = Callable[[State, Array, Array, Array], np.ndarray]
Step = Callable[[State, Array], State]


class Runs(NamedTuple):
  """depth: [T, E] m, of the tip. bend: [T, E] rad, of both joints together.
  outcome: int32 [E], at the end. force: [E] N, the largest on the strap.
  """

  depth: np.ndarray
  bend: np.ndarray
  outcome: np.ndarray
  force: np.ndarray

  @property
  def success(self) -> np.ndarray:
    """bool [E]."""
    return self.outcome == ZipTieOutcome.SUCCESS


def make_solve(task: Task, scene: Scene) -> Solve:
  """Returns (State, joints [E, A], offset [E, 3], turn [E, 3]) -> joints.

  One Newton step to a tip `offset` (m) from the mouth, in the head's frame,
  and a strap turned by `turn` (rad) from the slot; the head where it is to be.
  """
  tail_home, head_home = (
    jnp.asarray(chain.base_mat) for chain in (scene.right, scene.head)
  )

  def one(state, joints, offset, turn):
    head_turn = jnp.asarray(_HEAD_TURN, jnp.float32)
    head = kinematics.rotation(head_turn) @ head_home
    mouth = jnp.asarray(_MOUTH, jnp.float32)
    mat = head @ kinematics.rotation(turn) @ strap_lib.ALIGNED
    return hands.solve(
      scene,
      joints,
      ((state.strap_pos, state.strap_rot), (state.head_pos, state.head_rot)),
      (mouth + head @ offset, mouth),
      (kinematics.small_rotvec(mat @ tail_home.T), head_turn),
      iterations=1,
    )

  compiled = task.compile(jax.vmap(one))

  def solve(state, joints, offset, turn):
    offset, turn = np.float32(offset), np.float32(turn)
    return np.asarray(compiled(state, joints, offset, turn))

  return solve


# The head is beside its mean place and turned, and the grasps are skewed.
_MOUTH = MOUTH_HOME + np.array([0.002, -0.003, 0.0005])
_HEAD_TURN = np.deg2rad([1.5, -2.0, 2.5])
_GRASPS = {
  'strap_pos': (5e-4, -7e-4, 4e-4),
  'strap_rot': tuple(np.deg2rad([1.0, -1.5, 0.8])),
  'head_pos': (-4e-4, 6e-4, -3e-4),
  'head_rot': tuple(np.deg2rad([-0.7, 1.2, 0.6])),
}


def line_up(
  pushes: Sequence[Push], starts: State, scene: Scene, solve: Solve
) -> tuple[State, np.ndarray]:
  """Returns the starts [E] of pushes and their joint commands [T, E, A].

  Args:
    pushes: [E].
    starts: State [E], the first of any episodes.
    scene: of the task.
    solve: of `make_solve`.
  """
  rows = len(pushes)
  state = starts.replace(
    friction=jnp.full(rows, 0.35),
    **{
      name: jnp.tile(jnp.asarray(values, jnp.float32), (rows, 1))
      for name, values in _GRASPS.items()
    },
  )
  turn = np.deg2rad([push.turn for push in pushes])
  offset = np.zeros((rows, 3))
  offset[:, :2] = np.array([push.offset for push in pushes]) * 1e-3
  offset[:, 2] = ABOVE
  joints = np.zeros((rows, bench.ACTION_DIM), np.float32)
  for _ in range(_SOLVES):
    joints = solve(state, joints, offset, turn)
  moved = bench.to_actuators(joints)
  straight = np.zeros((rows, 2), np.float32)
  qpos = np.concatenate([moved[:, :8], straight, moved[:, 8:]], axis=1)
  state = state.replace(qpos=jnp.asarray(qpos), command=jnp.asarray(joints))
  path, last = [], scene.config.tight_mm * 1e-3 + _PAST
  for depth in np.arange(-ABOVE, last, _SPACING):
    offset[:, 2] = -depth
    joints = solve(state, joints, offset, turn)
    path.append(joints)
  return state, _pace(pushes, np.stack(path))


def _pace(pushes: Sequence[Push], path: np.ndarray) -> np.ndarray:
  """Returns commands [T, E, A] along paths [D, E, A] at the pushes' speeds."""
  speeds = np.array([push.speed for push in pushes]) * 1e-3
  way = np.arange(1, STEPS + 1)[:, None] * speeds * _PERIOD
  index = np.minimum(np.rint(way / _SPACING).astype(int), len(path) - 1)
  return path[index, np.arange(len(pushes))]


def run_mjx(
  task: Task, scene: Scene, state: State, commands: np.ndarray, step: Step
) -> Runs:
  """Runs pushes in MJX.

  Args:
    task, scene: of them.
    state, commands: of `line_up`.
    step: (State [E], command [E, A]) -> State [E], compiled.
  """

  def measure(state: State) -> tuple[Array, Array, Array]:
    strap = strap_lib.pose(scene, state)
    return -strap.tip[2], jnp.sum(jnp.abs(strap.bends)), state.force

  compiled, rows = task.compile(jax.vmap(measure)), []
  for command in commands:
    state = step(state, jnp.asarray(command))
    rows.append([np.asarray(x) for x in compiled(state)])
  depth, bend, force = (np.stack(x) for x in zip(*rows, strict=True))
  outcome = np.asarray(state.outcome)
  return Runs(depth, bend, outcome, force.max(axis=0))


def run_c(task: Task, state: State, commands: np.ndarray) -> Runs:
  """Runs pushes in C MuJoCo, in float64; see `run_mjx`."""
  rig = task.make_bench()
  runs = []
  for row in range(commands.shape[1]):
    rig.place(jax.tree.map(lambda x: np.asarray(x)[row], state))  # noqa: B023
    straps, forces = [], []
    for command in commands[:, row]:
      rig.set_targets(np.float64(command))
      for _ in range(task.config.substeps):
        rig.step()
      strap = rig.strap_in_head()
      straps.append((-strap.tip[2], np.abs(strap.bends).sum()))
      forces.append(rig.force())
      if rig.outcome() != ZipTieOutcome.RUNNING:
        break
    # An ended episode stays as it is.
    straps += [straps[-1]] * (len(commands) - len(straps))
    runs.append((np.array(straps), rig.outcome(), max(forces)))
  straps, outcome, force = (np.array(x) for x in zip(*runs, strict=True))
  return Runs(straps[..., 0].T, straps[..., 1].T, outcome, force)
