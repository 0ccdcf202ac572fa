"""Policies that try to be judged successful without a proper insertion.

They read the true poses, except the blind ones, and steer the tip along points
in the socket's frame. They test the verdict and the contacts, and show what a
search without sight reaches.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim import two_arm_bench as joints_lib
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.insertion.config import InsertionOutcome
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.task import Task

_NEAR = 1.5e-3  # m from a point, where the next one begins
_TURN_STEPS = 20  # until a turn is complete, so that the arm can follow
_SEARCH_SPEED = 0.5e-3  # m per step
_SEARCH_PRESS = 1.5e-3  # m
UPRIGHT = (0.0, 0.0, 0.0)  # degrees about x, y and z
LIMIT = 6.0  # mm ahead of the tip: more than the limit on commands allows


class Cheat(NamedTuple):
  """A way of the tip.

  name: for tables. most: the largest success rate it may have; least: the
  smallest, for an honest push. points: mm, in the socket's frame, z outward
    from the mouth; the last one is held. turns: degrees at each point, about
    x, y, z from the socket; () for none.
  ahead: mm the command runs ahead of the measured tip, as hard as it pushes.
  blind: points are around the mean socket instead of the true one.
  shake: mm up and down at the last point, every 4 steps.
  spiral: mm between the turns of a search around the last point.
  steps: control steps until it gives up.
  """

  name: str
  most: float
  points: tuple[tuple[float, float, float], ...]
  turns: tuple[tuple[float, float, float], ...] = ()
  ahead: float = LIMIT
  blind: bool = False
  shake: float = 0.0
  spiral: float = 0.0
  steps: int = 90
  least: float = 0.0


# State [E] -> tips [E, 3] and mouths [E, 3], m, world, and their frames
# [E, 3, 3].
Look = Callable[[Any], tuple[np.ndarray, np.ndarray, np.ndarray]]
# (State [E], tips to reach [E, 3], frames [E, 3, 3], turns [E, 3] rad) -> joint
# targets [E, A].
Reach = Callable[[Any, np.ndarray, np.ndarray, np.ndarray], jax.Array]


class Driver:
  """Runs cheats on a batch of start states; its functions compile once."""

  def __init__(
    self,
    task: Task,
    scene: Scene,
    step: Callable[[State, jax.Array], State] | None = None,
  ):
    """Jits nothing yet.

    Args:
      task: an insertion task.
      scene: of it.
      step: (State [E], command [E, A]) -> State [E], if it is compiled already.
    """
    home = jnp.asarray(scene.right.base_mat)

    def pose(state: State) -> jax.Array:
      return task.tip.pose(state)[0]

    def solve(state: State, position: jax.Array, socket: jax.Array,
              turn: jax.Array) -> jax.Array:  # fmt: skip
      matrix = kinematics.rotation(socket) @ kinematics.rotation(turn) @ home
      return task.tip.solve(state, position, matrix)

    self._mouth_home = scene.mouth_home
    self._step = step or task.compile(over_worlds(task.step))
    self._pose = task.compile(jax.vmap(pose))
    self._solve = task.compile(jax.vmap(solve))
    self._rotation = jax.jit(jax.vmap(kinematics.rotation))

  def run(self, cheats: Sequence[Cheat], states: State) -> State:
    """Returns the states [E] in which the episodes ended or were given up.

    Args:
      cheats: [E], one for each world.
      states: [E] starts of episodes.
    """
    ways = [Way(cheat) for cheat in cheats]
    blind = np.array([cheat.blind for cheat in cheats])
    ahead = np.array([[cheat.ahead * 1e-3] for cheat in cheats])
    look, reach = self._begin(states, blind)
    for k in range(max(cheat.steps for cheat in cheats)):
      tip, center, frame = look(states)
      rel = np.einsum('eji,ej->ei', frame, tip - center)
      goals, turns = zip(
        *(way.next(row) for way, row in zip(ways, rel, strict=True)),
        strict=True,
      )
      gap = np.einsum('eij,ej->ei', frame, goals) + center - tip
      length = np.linalg.norm(gap, axis=1, keepdims=True) + 1e-9
      aim = tip + gap * np.minimum(1.0, ahead / length)
      command = reach(states, aim, frame, turns)
      states = self._step(states, command)
      running = np.asarray(states.outcome) == InsertionOutcome.RUNNING
      if not any(
        on and k + 1 < cheat.steps
        for on, cheat in zip(running, cheats, strict=True)
      ):
        break
    return states

  def _begin(self, starts: State, blind: np.ndarray) -> tuple[Look, Reach]:
    """Returns how the tips find the mouth, which stays where it began."""
    center = np.where(blind[:, None], self._mouth_home, starts.socket_pos)
    rotvec = jnp.where(blind[:, None], 0.0, starts.socket_rot)
    frame = np.asarray(self._rotation(rotvec))

    def look(states: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
      return np.asarray(self._pose(states)), center, frame

    def reach(
      states: State, aim: np.ndarray, frame: np.ndarray, turns: np.ndarray
    ) -> jax.Array:
      del frame
      return self._solve(states, np.float32(aim), rotvec, np.float32(turns))

    return look, reach


class Way:
  """Where one tip is on its way."""

  def __init__(self, cheat: Cheat):
    self._cheat = cheat
    self._points = np.array(cheat.points) * 1e-3
    turns = cheat.turns or (UPRIGHT,) * len(cheat.points)
    self._turns = np.deg2rad(np.array(turns))
    self._at = 0  # the point that the tip moves to
    self._since = 0  # steps since it is the last one
    self._steps = 0

  def next(self, tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the goal [3] m and the turn [3] rad; `tip` is [3] m."""
    last, cheat = len(self._points) - 1, self._cheat
    near = np.linalg.norm(tip - self._points[self._at]) < _NEAR
    self._at = min(self._at + int(near), last)
    self._steps += 1
    goal = self._points[self._at].copy()
    if self._at == last:
      self._since += 1
      if cheat.spiral:
        # An Archimedean spiral at constant speed, pressed down lightly.
        pitch = cheat.spiral * 1e-3
        angle = np.sqrt(4 * np.pi * _SEARCH_SPEED * self._since / pitch)
        radius = pitch * angle / (2 * np.pi)
        goal[:2] += radius * np.array([np.cos(angle), np.sin(angle)])
        goal[2] = max(goal[2], tip[2] - _SEARCH_PRESS)
      if cheat.shake and (self._since // 4) % 2 == 1:
        goal[2] = cheat.shake * 1e-3
    share = min(1.0, self._steps / _TURN_STEPS)
    return goal, share * self._turns[self._at]


def random_targets(key: jax.Array, count: int) -> jax.Array:
  """Returns joint targets [E, A] far beyond any limit; `key` is consumed.

  The grippers stay shut.
  """
  targets = jax.random.uniform(
    key, (count, joints_lib.ACTION_DIM), minval=-1.5, maxval=1.5
  )
  grippers = [i for i, unit in enumerate(joints_lib.JOINT_UNITS) if unit == 'm']
  return targets.at[:, jnp.array(grippers)].set(0.0)


def success_rate(states: State) -> float:
  """Returns the share of success among final states [E]."""
  return float(np.mean(np.asarray(states.outcome) == InsertionOutcome.SUCCESS))
