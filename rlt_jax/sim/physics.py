"""Physics engine of the tasks: MJX, in JAX or in MuJoCo Warp.

The JAX implementation runs on every device. Warp's is for NVIDIA GPUs; on a CPU
it gives the same contacts, but slowly. Both step the same compiled scene.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import mujoco

from rlt_jax.sim.mjx_import import mjx, mjx_warp, WARP_NOTES
from rlt_jax.sim.precision import full_precision
from rlt_jax.types import Array

_CONTACT_ROWS = 4  # constraint rows of a pyramidal contact with condim 3


class PhysicsOutput(NamedTuple):
  """Result of a control step of one world.

  qpos, qvel, warmstart: [nq] joint coordinates (rad, m), velocities and the
    solver's last acceleration. torques: [S, 6] N m, constraint torques on the
    first arm's joints after each substep.
  """

  qpos: Array
  qvel: Array
  warmstart: Array
  torques: Array


class World(NamedTuple):
  """A compiled scene, and functions that write one world's state into it.

  mj_model, mjx_model: the scene. set_model: (mjx.Model, State) -> mjx.Model,
  sets what differs between worlds, such as grasp and friction. set_data:
  (mjx.Data, State) -> mjx.Data, sets the configuration.
  """

  mj_model: mujoco.MjModel
  mjx_model: mjx.Model
  set_model: Callable[[mjx.Model, Any], mjx.Model]
  set_data: Callable[[mjx.Data, Any], mjx.Data]


Engine = Callable[[Any, Array], PhysicsOutput]


def runnable() -> tuple[str, ...]:
  """Returns the implementations that can run here, 'jax' first."""
  found = ('jax',)
  if mjx_warp.WARP_INSTALLED and jax.default_backend() in ('cpu', 'gpu'):
    found += ('warp',)
  return found


def make(world: World, substeps: int, impl: str = 'jax') -> Engine:
  """Returns `engine(state, control)`, a control step of one world.

  Vmap it over worlds exactly once: Warp allocates contacts for that one axis.

  Args:
    world: the scene.
    substeps: S, physics steps per control step.
    impl: 'jax' or 'warp'.

  Raises:
    ValueError: the implementation can't run here.
  """
  if impl not in runnable():
    raise ValueError(
      f'impl must be one that runs here, {list(runnable())} (warp needs '
      f'`pip install -e .[warp]` and an NVIDIA GPU or a CPU): {impl!r}. '
      f'{WARP_NOTES}'
    )
  if impl == 'warp':
    return _warp(world, substeps)

  def engine(state: Any, control: Array) -> PhysicsOutput:
    model = world_model(world, state)
    data = world_data(world, model, state)
    return _advance(model, data, control, substeps)

  return engine


def _warp(world: World, substeps: int) -> Engine:
  """Builds Warp's engine, where all worlds share one list of contacts."""
  base = mjx.put_model(world.mj_model, jax.local_devices()[0], impl='warp')

  def one(state: Any, control: Array, count: int) -> PhysicsOutput:
    data = world.set_data(_warp_data(world.mj_model, count), state)
    model = world.set_model(base, state)
    return _advance(model, data, control, substeps)

  @jax.custom_batching.custom_vmap
  def engine(state: Any, control: Array) -> PhysicsOutput:
    return one(state, control, 1)

  @engine.def_vmap
  def _many(count, batched, state, control):
    axes = jax.tree.map(lambda leaf: 0 if leaf else None, batched)
    output = jax.vmap(lambda s, c: one(s, c, count), in_axes=tuple(axes))(
      state, control
    )
    return output, jax.tree.map(lambda _: True, output)

  return engine


def _warp_data(model: mujoco.MjModel, count: int) -> mjx.Data:
  """Returns data with room for a contact of every geom pair in every world."""
  return mjx.make_data(
    model,
    jax.local_devices()[0],
    impl='warp',
    naconmax=count * model.npair,
    njmax=_CONTACT_ROWS * model.npair + model.njnt + model.ntendon,
  )


def world_model(world: World, state: Any) -> mjx.Model:
  """Returns the JAX model of one world."""
  return world.set_model(world.mjx_model, state)


def world_data(world: World, model: mjx.Model, state: Any) -> mjx.Data:
  """Returns JAX data of one world at the state's configuration."""
  data = mjx.make_data(model, jax.local_devices()[0], impl='jax')
  return world.set_data(data, state)


@full_precision
def _advance(
  model: mjx.Model, data: mjx.Data, control: Array, substeps: int
) -> PhysicsOutput:
  def substep(data: mjx.Data, _) -> tuple[mjx.Data, Array]:
    data = mjx.step(model, data)
    return data, data.qfrc_constraint[:6]

  data, torques = jax.lax.scan(
    substep, data.replace(ctrl=control), length=substeps
  )
  return PhysicsOutput(data.qpos, data.qvel, data.qacc_warmstart, torques)
