"""The opening that a part goes into, whose width may differ by episode."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import mujoco
import numpy as np

from rlt_jax.sim.mjx_import import mjx
from rlt_jax.tasks.bench_config import BenchConfig
from rlt_jax.types import Array, PRNGKey

_STEP = 1e-5  # m


class Opening(NamedTuple):
  """How places and sizes of geoms change with the clearance, m per m.

  pos, size: [geoms, 3].
  """

  pos: np.ndarray
  size: np.ndarray


def measure(
  spec: mujoco.MjSpec,
  move_walls: Callable[[mujoco.MjSpec, float], object],
  clearance: float,
) -> Opening:
  """Returns the opening of a scene.

  Args:
    spec: at `clearance`, as which it is left.
    move_walls: moves walls and rims of a spec to a clearance, m; places and
      sizes are linear in it.
    clearance: m per side.
  """
  models = []
  for at in (clearance - _STEP, clearance):
    move_walls(spec, at)
    models.append(spec.compile())
  tight, wide = models
  return Opening(
    (wide.geom_pos - tight.geom_pos) / _STEP,
    (wide.geom_size - tight.geom_size) / _STEP,
  )


def draw(key: PRNGKey, config: BenchConfig) -> Array | None:
  """Draws by how much, m, an episode is tighter; the key is consumed.

  None where all have the clearance of the settings.
  """
  if not config.tighter_mm:
    return None
  return jax.random.uniform(key, maxval=config.tighter_mm * 1e-3)


def set_model(
  model: mjx.Model, opening: Opening, tighter: Array | None
) -> mjx.Model:
  """Returns the model of one world, tighter by [] m."""
  if tighter is None:
    return model
  return model.tree_replace(
    {
      'geom_pos': model.geom_pos - tighter * opening.pos,
      'geom_size': model.geom_size - tighter * opening.size,
    }
  )


def set_mujoco(
  model: mujoco.MjModel,
  nominal: mujoco.MjModel,
  opening: Opening,
  tighter: Array | None,
) -> None:
  """Writes one world's opening into a C model; None restores the nominal."""
  by = 0.0 if tighter is None else float(tighter)
  model.geom_pos[:] = nominal.geom_pos - by * opening.pos
  model.geom_size[:] = nominal.geom_size - by * opening.size
