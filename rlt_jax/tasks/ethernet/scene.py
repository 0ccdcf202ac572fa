"""Loads the insertion scene at one clearance and resolves its names once."""

import dataclasses
import importlib.resources
from typing import NamedTuple

import jax
import mujoco
from mujoco import mjx
import numpy as np

from rlt_jax.types import Array

CAMERAS = ('base', 'wrist_left', 'wrist_right')
SIDES = ('right', 'left')
JOINTS = tuple(
  f'{side}_{joint}'
  for side in SIDES
  for joint in ('j1', 'j2', 'j3', 'j4', 'j5', 'j6', 'gripper')
)
ACTION_DIM = len(JOINTS)  # 14: twice six joints and a gripper.
PROPRIO_DIM = 2 * ACTION_DIM
CLEARANCES_MM = (0.3, 0.15, 0.1, 0.05)
SOCKET_DEPTH = 0.012  # m, mouth to floor.
PLUG_LENGTH = 0.022  # m, grasp point to tip.
MOUTH_HOME = np.array([0.0, 0.0, 0.06])  # m, world, mean socket pose.
_PLUG_HALF = np.array([0.0058, 0.004])  # m, cross section.
_WALL_HALF = 0.005  # m, half a wall's thickness.
_RIM_RADIUS = 0.0008  # m


class Chain(NamedTuple):
  """Constants of the right arm's kinematic chain, base to hand.

  base_pos: [3] m, world. base_mat: [3, 3]. offsets: [6, 3] m, each body in its
  parent; axes: [6, 3] joint axes in the body's own frame. grasp: [3] m, the
  nominal plug origin in the hand frame.
  """

  base_pos: np.ndarray
  base_mat: np.ndarray
  offsets: np.ndarray
  axes: np.ndarray
  grasp: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """The compiled models and the ids that the simulator needs."""

  mj_model: mujoco.MjModel
  mjx_model: mjx.Model
  clearance: float  # m a side
  plug_body: int
  right: Chain
  home: np.ndarray  # [A] rad and m
  joint_low: np.ndarray  # [A]
  joint_high: np.ndarray  # [A]


def load(clearance_mm: float = 0.3, timestep: float = 0.004) -> Scene:
  """Compiles the scene with `clearance_mm` of play on each side of the plug.

  Args:
    clearance_mm: mm a side, one of CLEARANCES_MM.
    timestep: physics step, s. Contact stiffness follows it (solref is 2 dt).

  Raises:
    ValueError: the clearance is not a level of the task.
  """
  if clearance_mm not in CLEARANCES_MM:
    raise ValueError(
      f'clearance_mm must be one of {CLEARANCES_MM}: {clearance_mm}.'
    )
  clearance = clearance_mm * 1e-3
  asset = (
    importlib.resources.files('rlt_jax.tasks.ethernet')
    / 'assets'
    / 'ethernet.xml'
  )
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
  return Scene(
    mj_model=model,
    # A device of this host: MJX's own choice is the first of all hosts.
    mjx_model=mjx.put_model(model, jax.local_devices()[0], impl='jax'),
    clearance=clearance,
    plug_body=model.body('plug').id,
    right=_chain(model),
    home=np.zeros(ACTION_DIM, np.float32),
    joint_low=to_joints(model.jnt_range[:, 0]).astype(np.float32),
    joint_high=to_joints(model.jnt_range[:, 1]).astype(np.float32),
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
  )


def to_actuators(joints: Array) -> Array:
  """Maps [..., A] joint values to [..., 16]; two fingers take one gripper."""
  xp = np if isinstance(joints, np.ndarray) else jax.numpy
  right, left = joints[..., :7], joints[..., 7:]
  return xp.concatenate([right, right[..., 6:], left, left[..., 6:]], axis=-1)


def to_joints(positions: Array) -> Array:
  """Maps [..., 16] joint coordinates to [..., A]: a gripper is its mean."""
  xp = np if isinstance(positions, np.ndarray) else jax.numpy
  parts = []
  for start in (0, 8):
    parts.append(positions[..., start : start + 6])
    parts.append(
      positions[..., start + 6 : start + 8].mean(axis=-1, keepdims=True)
    )
  return xp.concatenate(parts, axis=-1)
