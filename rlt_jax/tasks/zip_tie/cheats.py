"""Ways to cheat on the zip tie task, and what each may reach.

The right hand moves the tip along points in the head's frame; the left hand
holds the head where it is.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.insertion import cheats as cheats_lib
from rlt_jax.tasks.insertion.cheats import Cheat, Look, Reach, UPRIGHT
from rlt_jax.tasks.task import Task
from rlt_jax.tasks.zip_tie import strap as strap_lib
from rlt_jax.tasks.zip_tie.scene import MOUTH_HOME, Scene
from rlt_jax.tasks.zip_tie.state import State

_DEEP = -27.0  # mm, beyond the tight strap: the bundle pushes back
_SOFT = 2.5  # mm ahead, with which a strap does not buckle at once


def _push(x: float, y: float = 0.0) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 4.0), (x, y, _DEEP)


def _around(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 8.0), (x, y, -21.0), (0.0, 0.0, -21.0)


def _from_below(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  below = (x, y, -50.0), (0.0, 0.0, -50.0)
  return (x, y, 8.0), *below, (0.0, 0.0, -21.0)


def _through(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 8.0), (x, y, -4.0), (0.0, 0.0, -4.0), (0.0, 0.0, -21.0)


CHEATS = (
  Cheat('push, aligned', 1.0, _push(0.0), ahead=6.0, steps=140, least=0.9),
  Cheat('around the head, from +x', 0.0, _around(14.0, 0.0), steps=140),
  Cheat('around the head, from -y', 0.0, _around(0.0, -14.0), steps=140),
  Cheat('from below, up the slot', 0.0, _from_below(14.0, 0.0), steps=200),
  Cheat('through the wall at +x', 0.0, _through(10.0, 0.0), steps=140),
  Cheat('through the wall at -x', 0.0, _through(-10.0, 0.0), steps=140),
  Cheat('through the wall at +y', 0.0, _through(0.0, 12.0), steps=140),
  Cheat('through the wall at -y', 0.0, _through(0.0, -12.0), steps=140),
  Cheat('beside the head', 0.0, _push(9.0), steps=140),
  Cheat('ram, 2 mm beside', 0.0, _push(2.0)),
  Cheat('push, 2 mm beside', 0.0, _push(2.0), ahead=_SOFT),
  Cheat('push, 1.5 mm beside along y', 0.0, _push(0.0, 1.5), ahead=_SOFT),
  Cheat('ram, aligned', 1.0, _push(0.0), steps=120),
  Cheat(
    'lever, in by 20 degrees, then upright',
    0.3,
    ((0.5, 0.0, 4.0), (0.5, 0.0, -3.0), (0.0, 0.0, _DEEP)),
    ((0.0, 20.0, 0.0), (0.0, 20.0, 0.0), UPRIGHT),
    ahead=_SOFT,
    steps=200,
  ),
  Cheat('hammer, 2 mm beside', 0.05, _push(2.0), ahead=_SOFT, shake=4.0),
  Cheat(
    'turned by 15 degrees', 0.0, _push(0.0), ((0.0, 0.0, 15.0),) * 2,
    ahead=_SOFT, steps=140,
  ),
  Cheat(
    'turned by 80 degrees', 0.0, _push(0.0), ((0.0, 0.0, 80.0),) * 2,
    ahead=_SOFT, steps=140,
  ),
  Cheat('blind push', 0.1, _push(0.0), ahead=_SOFT, blind=True, steps=140),
  Cheat('blind ram', 0.1, _push(0.0), blind=True, steps=140),
  Cheat(
    'blind spiral',
    0.3,
    ((0.0, 0.0, 4.0), (0.0, 0.0, _DEEP)),
    ahead=_SOFT,
    blind=True,
    spiral=1.2,
    steps=490,
  ),
)  # fmt: skip


class Driver(cheats_lib.Driver):
  """Runs cheats on a batch of start states; its functions compile once."""

  def __init__(
    self,
    task: Task,
    scene: Scene,
    step: Callable[[State, jax.Array], State] | None = None,
  ):
    """Jits nothing yet.

    Args:
      task: the zip tie task.
      scene: of it.
      step: (State [E], command [E, A]) -> State [E], if it is compiled already.
    """
    home = jnp.asarray(scene.head.base_mat)

    def measure(state: State) -> tuple[jax.Array, ...]:
      return task.tip.pose(state)[0], *strap_lib.mouth(scene, state)

    def solve(
      state: State, place: jax.Array, frame: jax.Array, turn: jax.Array
    ) -> jax.Array:
      matrix = frame @ kinematics.rotation(turn) @ strap_lib.ALIGNED
      return task.tip.solve(state, place, matrix)

    self._level = np.asarray(home)
    self._step = step or task.compile(over_worlds(task.step))
    self._measure = task.compile(jax.vmap(measure))
    self._solve = task.compile(jax.vmap(solve))

  def _begin(self, starts: State, blind: np.ndarray) -> tuple[Look, Reach]:
    """Returns how the tips find the mouth, which the other hand moves."""
    del starts

    def look(states: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
      tip, mouth, head = map(np.asarray, self._measure(states))
      center = np.where(blind[:, None], MOUTH_HOME, mouth)
      return tip, center, np.where(blind[:, None, None], self._level, head)

    def reach(
      states: State, aim: np.ndarray, frame: np.ndarray, turns: np.ndarray
    ) -> jax.Array:
      return self._solve(
        states, np.float32(aim), np.float32(frame), np.float32(turns)
      )

    return look, reach
