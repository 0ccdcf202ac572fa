"""Loads the insertion scene at one clearance and looks up its ids."""

import dataclasses
import functools
import importlib.resources

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import kinematics, physics
from rlt_jax.sim.kinematics import Chain
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.sim.two_arm_bench import ACTION_DIM, to_joints
from rlt_jax.tasks.ethernet.state import State

CAMERAS = ('base', 'wrist_left', 'wrist_right')
CLEARANCES_MM = (0.3, 0.15, 0.1, 0.05)
SOCKET_DEPTH = 0.012  # m, mouth to floor.
PLUG_LENGTH = 0.022  # m, grasp point to tip.
MOUTH_HOME = np.array([0.0, 0.0, 0.06])  # m, world, mean socket pose.
_PLUG_HALF = np.array([0.0058, 0.004])  # m, cross section.
_WALL_HALF = 0.005  # m, half a wall's thickness.
_RIM_RADIUS = 0.0008  # m


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """The compiled models and the ids that the simulator needs."""

  world: physics.World
  clearance: float  # m per side
  plug_body: int
  right: Chain
  home: np.ndarray  # [A] rad and m
  joint_low: np.ndarray  # [A]
  joint_high: np.ndarray  # [A]

  @property
  def mj_model(self) -> mujoco.MjModel:
    """The scene as a model of C MuJoCo."""
    return self.world.mj_model


def load(clearance_mm: float = 0.3, timestep: float = 0.004) -> Scene:
  """Compiles the scene with a clearance on each side of the plug.

  Args:
    clearance_mm: mm per side, one of CLEARANCES_MM.
    timestep: physics step, s. Contact stiffness follows it (solref is 2 dt).

  Raises:
    ValueError: the clearance is not a level of the task.
  """
  if clearance_mm not in CLEARANCES_MM:
    raise ValueError(
      f'clearance_mm must be one of {CLEARANCES_MM}: {clearance_mm}.'
    )
  clearance = clearance_mm * 1e-3
  package = importlib.resources.files('rlt_jax.tasks.ethernet')
  asset = package / 'assets' / 'ethernet.xml'
  spec = mujoco.MjSpec.from_string(asset.read_text())
  spec.option.timestep = timestep
  for pair in spec.pairs:
    pair.solref = [2 * timestep, 1.0]
  inner = _PLUG_HALF + clearance
  for axis, name in enumerate('xy'):
    for sign, letter in ((1, 'p'), (-1, 'n')):
      for geom, behind in (
        (f'wall_{name}{letter}', _WALL_HALF),
        (f'rim_{name}{letter}_p', _RIM_RADIUS),
        (f'rim_{name}{letter}_n', _RIM_RADIUS),
      ):
        geom = spec.geom(geom)
        pos = np.array(geom.pos)
        pos[axis] = sign * (inner[axis] + behind)
        geom.pos = pos
  model = spec.compile()
  chain, plug_body = _chain(model), model.body('plug').id
  return Scene(
    world=physics.World(
      mj_model=model,
      # MJX's default would be the first device of all hosts.
      mjx_model=mjx.put_model(model, jax.local_devices()[0], impl='jax'),
      set_model=functools.partial(_set_model, chain, plug_body),
      set_data=_set_data,
    ),
    clearance=clearance,
    plug_body=plug_body,
    right=chain,
    home=np.zeros(ACTION_DIM, np.float32),
    joint_low=to_joints(model.jnt_range[:, 0]).astype(np.float32),
    joint_high=to_joints(model.jnt_range[:, 1]).astype(np.float32),
  )


def _set_model(
  chain: Chain, plug_body: int, model: mjx.Model, state: State
) -> mjx.Model:
  """Returns the model of one world: its grasp and its friction."""
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


def _chain(model: mujoco.MjModel) -> Chain:
  """Reads the right arm's chain from the compiled model."""
  names = ('yaw', 'upper', 'elbow', 'forearm', 'wrist', 'hand')
  base = model.body('right_base')
  mat = np.zeros(9)
  mujoco.mju_quat2Mat(mat, base.quat)
  return Chain(
    base_pos=np.array(base.pos),
    base_mat=mat.reshape(3, 3),
    offsets=np.stack([model.body(f'right_{n}').pos for n in names]),
    axes=np.stack([model.joint(f'right_j{i}').axis for i in range(1, 7)]),
    grasp=np.array(model.body('plug').pos),
    tool_length=PLUG_LENGTH,
  )
