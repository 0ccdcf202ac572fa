"""The scene of an insertion task: compiled models and ids."""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import kinematics, physics, two_arm_scene, variation
from rlt_jax.sim.kinematics import Chain
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.sim.two_arm_bench import ACTION_DIM
from rlt_jax.tasks import bench_opening
from rlt_jax.tasks.bench_opening import Opening
from rlt_jax.tasks.insertion.state import State

PLUG = 'plug'  # body in the right hand
SOCKET = 'socket'  # mocap body on the bench; its origin is the mouth's center

_Setter = Callable[[mjx.Model, State], mjx.Model]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
  """The compiled models and what the simulator needs to know of them.

  world: the models. clearance: m per side. opening: how it changes the geoms.
  depth: m, mouth to floor.
  mouth_home: [3] m, world, the mean pose of the mouth. plug_body: its id.
  right, left: the arms; the right one's tool is the plug.
  home, joint_low, joint_high: [A] rad and m.
  """

  world: physics.World
  clearance: float
  opening: Opening
  depth: float
  mouth_home: np.ndarray
  plug_body: int
  right: Chain
  left: Chain
  home: np.ndarray
  joint_low: np.ndarray
  joint_high: np.ndarray

  @property
  def mj_model(self) -> mujoco.MjModel:
    """The scene as a model of C MuJoCo."""
    return self.world.mj_model


def build(
  spec: mujoco.MjSpec,
  *,
  clearance: float,
  move_walls: Callable[[mujoco.MjSpec, float], object],
  depth: float,
  plug_length: float,
  mouth_home: np.ndarray,
  home_arm: np.ndarray | None = None,
  make_view: Callable[[mujoco.MjModel], _Setter] | None = None,
) -> Scene:
  """Compiles a scene with a body `plug` in the hand and a mocap body `socket`.

  Args:
    spec: of `two_arm_scene.compose`.
    clearance: m per side. move_walls: moves walls and rims of a spec to a
      clearance, m. depth: m, mouth to floor.
    plug_length: m, from between the fingertips to the plug's tip.
    mouth_home: [3] m, world.
    home_arm: [6] rad, the right arm with the tip above the mouth; zeros if
      None.
    make_view: returns what sets what only cameras see of a state; None for
      nothing.
  """
  model = spec.compile()
  plug_body = model.body(PLUG).id
  chain = two_arm_scene.arm_chain(
    model,
    'right',
    grasp=model.body_pos[plug_body],
    tool_length=plug_length,
  )
  home = np.zeros(ACTION_DIM, np.float32)
  if home_arm is not None:
    home[:6] = home_arm
  low, high = two_arm_scene.joint_limits()
  opening = bench_opening.measure(spec, move_walls, clearance)
  set_model = functools.partial(_set_model, chain, plug_body, opening)
  if make_view is not None:
    set_model = _both(set_model, make_view(model))
  return Scene(
    world=physics.World(
      mj_model=model,
      # MJX's default would be the first device of all hosts.
      mjx_model=mjx.put_model(model, jax.local_devices()[0], impl='jax'),
      set_model=set_model,
      set_data=_set_data,
    ),
    clearance=clearance,
    opening=opening,
    depth=depth,
    mouth_home=mouth_home,
    plug_body=plug_body,
    right=chain,
    left=two_arm_scene.arm_chain(model, 'left'),
    home=home,
    joint_low=low,
    joint_high=high,
  )


def _both(first: _Setter, second: _Setter) -> _Setter:
  return lambda model, state: second(first(model, state), state)


def _set_model(
  chain: Chain,
  plug_body: int,
  opening: Opening,
  model: mjx.Model,
  state: State,
) -> mjx.Model:
  """Returns the model of one world: grasp, friction, clearance, variation."""
  model = variation.set_model(model, state.variation)
  model = bench_opening.set_model(model, opening, state.tighter)
  pair_friction = model.pair_friction.at[:, :2].set(state.friction)
  return model.tree_replace(
    {
      'body_pos': model.body_pos.at[plug_body].set(
        jnp.asarray(chain.grasp) + state.grasp_pos
      ),
      'body_quat': model.body_quat.at[plug_body].set(
        kinematics.quaternion(state.grasp_rot)
      ),
      'pair_friction': pair_friction,
    }
  )


def _set_data(data: mjx.Data, state: State) -> mjx.Data:
  """Returns data at the state's configuration."""
  return data.replace(
    qpos=state.qpos,
    qvel=state.qvel,
    qacc_warmstart=state.warmstart,
    mocap_pos=state.socket_pos[None],
    mocap_quat=kinematics.quaternion(state.socket_rot)[None],
  )
