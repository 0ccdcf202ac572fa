"""Loads the charger's scene at one clearance."""

import mujoco
import numpy as np

from rlt_jax.sim import two_arm_scene
from rlt_jax.tasks.charger.config import ChargerConfig
from rlt_jax.tasks.insertion import scene as scene_lib
from rlt_jax.tasks.insertion.scene import Scene

SOCKET_DEPTH = 0.014  # m, mouth to floor
PLUG_LENGTH = 0.026  # m, grasp point to the prongs' tips
MOUTH_HOME = np.array([0.0, 0.0, 0.06])  # m, world, between the two slots
APART = 0.0127  # m, between the prongs' middles
_THICK, _WIDE = 0.0015, 0.0063  # m, a prong's cross section
_WALL_HALF = 0.01  # m, half a wall's thickness
_RIM_RADIUS = 0.0008  # m
# Both lie along x in the hand and along y in the socket: columns [3, 2] m.
PRONGS = np.array([[APART / 2, -APART / 2], [0.0, 0.0], [0.0, 0.0]])
MOUTHS = PRONGS[[1, 0, 2]]
_TIPS = ('tip_p_p', 'tip_p_n', 'tip_n_p', 'tip_n_n')
_WALLS = ('wall_xp', 'wall_xn', 'wall_yp', 'wall_yn', 'wall_mid',
          'socket_floor')  # fmt: skip
_RIMS = ('out_p', 'out_n', 'mid_p', 'mid_n', 'xp', 'xn')  # of each slot


def load(config: ChargerConfig | None = None) -> Scene:
  """Compiles the scene at a clearance and with the physics of a config.

  Args:
    config: of the task; the defaults if None.
  """
  config = config or ChargerConfig()
  clearance = config.clearance_mm * 1e-3
  spec = two_arm_scene.compose(
    two_arm_scene.read_asset('rlt_jax.tasks.charger', 'charger.xml'),
    name='charger',
    timestep=config.timestep,
    solver_iterations=config.solver_iterations,
  )
  # The right hand's camera sees the slots from the start's height, too.
  spec.camera('wrist_right').fovy = 30.0
  _move_walls(spec, clearance)
  two_arm_scene.add_contacts(
    spec,
    [
      *((tip, wall) for tip in _TIPS for wall in _WALLS),
      *((f'rim_{s}_{rim}', f'prong_{s}') for s in 'pn' for rim in _RIMS),
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


def _move_walls(spec: mujoco.MjSpec, clearance: float) -> None:
  """Moves walls and rims to a clearance, m."""
  end = _WIDE / 2 + clearance  # of the slots, along x
  inner = APART / 2 - _THICK / 2 - clearance  # half the web between them
  outer = APART / 2 + _THICK / 2 + clearance
  wall, rim = _WALL_HALF, _RIM_RADIUS

  def put(name: str, axis: int, value: float) -> None:
    geom = spec.geom(name)
    pos = np.array(geom.pos)
    pos[axis] = value
    geom.pos = pos

  def widen(name: str, axis: int, half: float) -> None:
    geom = spec.geom(name)
    size = np.array(geom.size)
    size[axis] = half
    geom.size = size

  for sign, letter in ((1, 'p'), (-1, 'n')):
    put(f'wall_x{letter}', 0, sign * (end + wall))
    widen(f'wall_x{letter}', 1, outer)
    put(f'wall_y{letter}', 1, sign * (outer + wall))
    widen(f'wall_y{letter}', 0, end + 2 * wall)
    for side in 'pn':
      put(f'rim_{letter}_out_{side}', 1, sign * (outer + rim))
      put(f'rim_{letter}_mid_{side}', 1, sign * (inner - rim))
      put(f'rim_{side}_x{letter}', 0, sign * (end + rim))
    widen(f'socket_dark_{letter}', 0, end)
    widen(f'socket_dark_{letter}', 1, _THICK / 2 + clearance)
  widen('wall_mid', 0, end)
  widen('wall_mid', 1, inner)
