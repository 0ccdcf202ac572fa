"""Loads the insertion scene at one clearance."""

import mujoco
import numpy as np

from rlt_jax.sim import two_arm_scene
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion import scene as scene_lib
from rlt_jax.tasks.insertion.scene import Scene

SOCKET_DEPTH = 0.012  # m, mouth to floor.
PLUG_LENGTH = 0.022  # m, grasp point to tip.
MOUTH_HOME = np.array([0.0, 0.0, 0.06])  # m, world, mean socket pose.
_PLUG_HALF = np.array([0.0058, 0.004])  # m, cross section.
_WALL_HALF = 0.005  # m, half a wall's thickness.
_RIM_RADIUS = 0.0008  # m
_TIPS = ('tip_pp', 'tip_pn', 'tip_np', 'tip_nn')
_WALLS = ('wall_xp', 'wall_xn', 'wall_yp', 'wall_yn', 'socket_floor')


def load(config: EthernetConfig | None = None) -> Scene:
  """Compiles the scene at a clearance and with the physics of a config.

  Args:
    config: of the task; the defaults if None.
  """
  config = config or EthernetConfig()
  clearance = config.clearance_mm * 1e-3
  spec = two_arm_scene.compose(
    two_arm_scene.read_asset('rlt_jax.tasks.ethernet', 'ethernet.xml'),
    name='ethernet',
    timestep=config.timestep,
    solver_iterations=config.solver_iterations,
  )
  rims = _move_walls(spec, clearance)
  two_arm_scene.add_contacts(
    spec,
    [
      *((tip, wall) for tip in _TIPS for wall in _WALLS),
      *((rim, 'plug') for rim in rims),
    ],
    time_constant=config.contact_time_constant,
  )
  return scene_lib.build(
    spec,
    clearance=clearance,
    move_walls=_move_walls,
    depth=SOCKET_DEPTH,
    plug_length=PLUG_LENGTH,
    mouth_home=MOUTH_HOME,
  )


def _move_walls(spec: mujoco.MjSpec, clearance: float) -> list[str]:
  """Moves walls and rim to a clearance, m; returns the rim's names."""
  inner, rims = _PLUG_HALF + clearance, []
  for axis, name in enumerate('xy'):
    for sign, letter in ((1, 'p'), (-1, 'n')):
      rim = [f'rim_{name}{letter}_{end}' for end in 'pn']
      for geom, behind in (
        (f'wall_{name}{letter}', _WALL_HALF),
        *((name, _RIM_RADIUS) for name in rim),
      ):
        geom = spec.geom(geom)
        pos = np.array(geom.pos)
        pos[axis] = sign * (inner[axis] + behind)
        geom.pos = pos
      rims += rim
  return rims
