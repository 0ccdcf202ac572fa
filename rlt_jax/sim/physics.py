"""The engine below the task: MJX, in JAX or in MuJoCo Warp.

The JAX implementation runs on every device. Warp's is made for NVIDIA; on a
CPU it gives the same contacts, only slowly. Both step the same compiled scene.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
from mujoco import mjx
from mujoco.mjx import warp as mjx_warp

from rlt_jax.sim import kinematics
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.state import State
from rlt_jax.types import Array

_CONTACT_ROWS = 4  # a pyramidal contact's, with condim 3


class PhysicsOutput(NamedTuple):
  """What a control step changed, of one world.

  qpos, qvel, warmstart: [16], as in `State`. torques: [S, 6] Nm, those of the
  constraints on the right arm after each substep.
  """

  qpos: Array
  qvel: Array
  warmstart: Array
  torques: Array


Engine = Callable[[State, Array], PhysicsOutput]


def runnable() -> tuple[str, ...]:
  """Returns the implementations that can run here, 'jax' first."""
  found = ('jax',)
  if mjx_warp.WARP_INSTALLED and jax.default_backend() in ('cpu', 'gpu'):
    found += ('warp',)
  return found


def make(scene: scene_lib.Scene, substeps: int, impl: str = 'jax') -> Engine:
  """Returns `engine(state, control [16])`, a control step of one world.

  Vmap it over worlds once; Warp's counts its contacts over that one axis.

  Args:
    scene: the compiled scene.
    substeps: S, physics steps a control step.
    impl: 'jax' or 'warp'.

  Raises:
    ValueError: the implementation can't run here.
  """
  if impl not in runnable():
    raise ValueError(
      f'impl must be one that runs here, {list(runnable())} (warp needs '
      f"`pip install -e .[warp]` and a GPU of NVIDIA's or a CPU): {impl!r}."
    )
  if impl == 'warp':
    return _warp(scene, substeps)

  def engine(state: State, control: Array) -> PhysicsOutput:
    model = world_model(scene, state)
    data = world_data(scene, model, state)
    return _advance(model, data, control, substeps)

  return engine


def _warp(scene: scene_lib.Scene, substeps: int) -> Engine:
  """Warp's engine: the contacts of all worlds share one list."""
  base = mjx.put_model(scene.mj_model, jax.local_devices()[0], impl='warp')

  def one(state: State, control: Array, worlds: int) -> PhysicsOutput:
    data = _at(_warp_data(scene.mj_model, worlds), state)
    model = _changed(base, scene, state)
    return _advance(model, data, control, substeps)

  @jax.custom_batching.custom_vmap
  def engine(state: State, control: Array) -> PhysicsOutput:
    return one(state, control, 1)

  @engine.def_vmap
  def _many(worlds, batched, state, control):
    axes = jax.tree.map(lambda leaf: 0 if leaf else None, batched)
    moved = jax.vmap(lambda s, c: one(s, c, worlds), in_axes=tuple(axes))(
      state, control
    )
    return moved, jax.tree.map(lambda _: True, moved)

  return engine


def _warp_data(model: mujoco.MjModel, worlds: int) -> mjx.Data:
  """Returns data with room for every pair to touch in every world."""
  return mjx.make_data(
    model,
    jax.local_devices()[0],
    impl='warp',
    naconmax=worlds * model.npair,
    njmax=_CONTACT_ROWS * model.npair + model.njnt,
  )


def world_model(scene: scene_lib.Scene, state: State) -> mjx.Model:
  """Returns the JAX model of one world: its grasp and its friction."""
  return _changed(scene.mjx_model, scene, state)


def _changed(
  model: mjx.Model, scene: scene_lib.Scene, state: State
) -> mjx.Model:
  pair_friction = model.pair_friction.at[:, :2].set(state.friction)
  return model.tree_replace(
    {
      'body_pos': model.body_pos.at[scene.plug_body].set(
        jnp.asarray(scene.right.grasp) + state.grasp_pos
      ),
      'body_quat': model.body_quat.at[scene.plug_body].set(
        kinematics.quaternion(state.grasp_rot)
      ),
      'pair_friction': pair_friction,
    }
  )


def world_data(
  scene: scene_lib.Scene, model: mjx.Model, state: State
) -> mjx.Data:
  """Returns JAX data of one world at the state's configuration."""
  data = mjx.make_data(model, jax.local_devices()[0], impl='jax')
  return _at(data, state)


def _at(data: mjx.Data, state: State) -> mjx.Data:
  return data.replace(
    qpos=state.qpos,
    qvel=state.qvel,
    qacc_warmstart=state.warmstart,
    mocap_pos=state.socket_pos[None],
    mocap_quat=kinematics.quaternion(state.socket_rot)[None],
  )


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
