"""Loads the screw's scene at one clearance."""

from collections.abc import Callable
import functools

import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import kinematics, two_arm_scene
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.tasks.insertion import scene as scene_lib
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.screw import turning
from rlt_jax.tasks.screw.config import ScrewConfig

RECESS_DEPTH = 0.0025  # m, mouth to floor
DRIVER_LENGTH = 0.1  # m, grasp point to the bit's tip
MOUTH_HOME = np.array([0.0, 0.0, 0.03])  # m, world, mean pose of the recess
# rad, upright with the tip 12 mm above that place.
HOME_ARM = np.array([0.0, -0.0648866, -0.0645686, 0.0, 0.1294552, 0.0])
BIT_HALF = 0.0014  # m, of its square cross section
_WALL_HALF = 0.00135  # m, half a wall's thickness
_RIM_RADIUS = 0.0004  # m
_TIPS = ('tip_pp', 'tip_pn', 'tip_np', 'tip_nn')
_WALLS = ('wall_xp', 'wall_xn', 'wall_yp', 'wall_yn', 'socket_floor')
# Of each wrist camera, in its hand's frame: place and target, m, and field of
# view, degrees. The left hand's looks from lower down than on other tasks.
_VIEWS = {
  'wrist_right': ((-0.012, -0.088, -0.07), (0.0, 0.0, -0.2135), 11.5),
  'wrist_left': ((0.0, 0.06, -0.09), (0.065, 0.0, -0.174), 14.0),
}


def load(config: ScrewConfig | None = None) -> Scene:
  """Compiles the scene at a clearance and with the physics of a config.

  Args:
    config: of the task; the defaults if None.
  """
  config = config or ScrewConfig()
  clearance = config.clearance_mm * 1e-3
  spec = two_arm_scene.compose(
    two_arm_scene.read_asset('rlt_jax.tasks.screw', 'screw.xml'),
    name='screw',
    timestep=config.timestep,
    solver_iterations=config.solver_iterations,
  )
  _aim_cameras(spec)
  rims = _move_walls(spec, clearance)
  two_arm_scene.add_contacts(
    spec,
    [
      *((tip, wall) for tip in _TIPS for wall in (*_WALLS, 'plate')),
      *((rim, 'bit_hit') for rim in rims),
    ],
    time_constant=config.contact_time_constant,
  )
  return scene_lib.build(
    spec,
    clearance=clearance,
    move_walls=_move_walls,
    depth=RECESS_DEPTH,
    plug_length=DRIVER_LENGTH,
    mouth_home=MOUTH_HOME,
    home_arm=HOME_ARM,
    make_view=functools.partial(_make_view, config),
  )


def _make_view(
  config: ScrewConfig, scene: mujoco.MjModel
) -> Callable[[mjx.Model, State], mjx.Model]:
  """Returns what turns bit and head for cameras, clockwise from above.

  The head that cameras see is a body of its own: MJX moves no body with a mocap
  body.
  """
  bit, head = scene.body('bit_view').id, scene.body('head_view').id

  def turn(model: mjx.Model, state: State) -> mjx.Model:
    half = -np.pi * turning.turned(config, state.driven)
    zero = jnp.zeros_like(half)
    spin = jnp.stack([jnp.cos(half), zero, zero, jnp.sin(half)])
    socket = kinematics.quaternion(state.socket_rot)
    turned = kinematics.quaternion_product(socket, spin)
    quat = model.body_quat.at[bit].set(spin).at[head].set(turned)
    pos = model.body_pos.at[head].set(state.socket_pos)
    return model.tree_replace({'body_pos': pos, 'body_quat': quat})

  return turn


def _aim_cameras(spec: mujoco.MjSpec) -> None:
  """Aims both wrist cameras at the tip, with a field of three centimeters."""
  for name, (pos, target, fovy) in _VIEWS.items():
    camera = spec.camera(name)
    back = np.subtract(pos, target)
    back = back / np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right = right / np.linalg.norm(right)
    camera.pos, camera.fovy = pos, fovy
    camera.alt.xyaxes = np.concatenate([right, np.cross(back, right)])


def _move_walls(spec: mujoco.MjSpec, clearance: float) -> list[str]:
  """Moves walls and rim to a clearance, m; returns the rim's names."""
  inner, rims = BIT_HALF + clearance, []
  for axis, name in enumerate('xy'):
    for sign, letter in ((1, 'p'), (-1, 'n')):
      rim = [f'rim_{name}{letter}_{end}' for end in 'pn']
      for geom, behind in (
        (f'wall_{name}{letter}', _WALL_HALF),
        (f'head_{name}{letter}', _WALL_HALF),
        *((name, _RIM_RADIUS) for name in rim),
      ):
        geom = spec.geom(geom)
        pos = np.array(geom.pos)
        pos[axis] = sign * (inner + behind)
        geom.pos = pos
      rims += rim
  return rims
