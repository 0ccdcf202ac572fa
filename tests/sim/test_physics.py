"""Pushes with known outcomes, in MJX and in C MuJoCo.

The verdicts are the geometry's. Beside the clearance of 0.3 mm the nose's
chamfer (0.8 mm) catches the rim, so 0.8 mm goes in and 1.5 mm does not; a
tilted plug touches both sides of the socket after 2 * 0.3 mm / tan(tilt); the
longer half of the plug may turn by 0.3 / 5.8 rad, 3 degrees.

Left out because they are decided by more than geometry: +0.8 mm in y, where
the friction cone ends, and -1.5 to -5 mm in y. A tip that presses on the face
creeps along +y, the way the arm gives, and may be carried into the mouth.
"""

import copy
from typing import NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rlt_jax.sim import action_space
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetOutcome

_STEPS = 72
_ABOVE = 0.002  # m, where a push starts
_PAST = 0.013  # m, where it ends, if it gets there
_PERIOD = 0.02  # s
_CHAMFER = 0.0008  # m, radius of the nose's and the rim's spheres

# mm: how far MJX and C may end apart. A wedged plug keeps whatever depth
# friction gave it on the way, so it remembers every rounding.
_AGREE = {'seated': 0.1, 'face': 0.3, 'wedged': 0.5}


class Push(NamedTuple):
  """offset: mm in the mouth's plane. turn: degrees. speed: mm/s."""

  name: str
  ends: str
  offset: tuple[float, float] = (0.0, 0.0)
  turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
  speed: float = 15.0


# Faster than any command may run ahead: the limit on commands sets the pace.
_AT_THE_LIMIT = 1e3
PUSHES = (
  Push('aligned', 'seated'),
  Push('x 0.2 mm', 'seated', offset=(0.2, 0)),
  Push('x 0.4 mm', 'seated', offset=(0.4, 0)),
  Push('x 0.8 mm', 'seated', offset=(0.8, 0)),
  Push('y 0.2 mm', 'seated', offset=(0, 0.2)),
  Push('y 0.4 mm', 'seated', offset=(0, 0.4)),
  Push('y -0.8 mm', 'seated', offset=(0, -0.8)),
  Push('x 1.5 mm', 'face', offset=(1.5, 0)),
  Push('x 5 mm', 'face', offset=(5, 0)),
  Push('y 1.5 mm', 'face', offset=(0, 1.5)),
  Push('y 2 mm', 'face', offset=(0, 2)),
  Push('tilt x 1', 'seated', turn=(1, 0, 0)),
  Push('tilt y 1', 'seated', turn=(0, 1, 0)),
  Push('tilt x 3', 'seated', turn=(3, 0, 0)),
  Push('tilt x 8', 'wedged', turn=(8, 0, 0)),
  Push('yaw 2', 'seated', turn=(0, 0, 2)),
  Push('yaw 10', 'face', turn=(0, 0, 10)),
  Push('aligned fast', 'seated', speed=120),
  Push('x 2 mm', 'face', offset=(2, 0)),
  Push('face at the limit', 'face', offset=(5, 0), speed=_AT_THE_LIMIT),
)


def _world(starts):
  """The worlds of the pushes: a moved, turned socket and a skewed grasp."""
  rows = len(PUSHES)

  def every(*values):
    return jnp.tile(jnp.asarray(values, jnp.float32), (rows, 1))

  return starts.replace(
    socket_pos=every(0.002, -0.003, 0.0605),
    socket_rot=every(*np.deg2rad([1.5, -2.0, 2.5])),
    grasp_pos=every(5e-4, -7e-4, 4e-4),
    grasp_rot=every(*np.deg2rad([1.0, -1.5, 0.8])),
    friction=jnp.full(rows, 0.35),
  )


def _stream(state, solve):
  """Returns joint commands [T, 20, A] along each push's path."""
  turn = np.deg2rad([push.turn for push in PUSHES])
  offset = np.zeros((len(PUSHES), 3))
  offset[:, :2] = np.array([push.offset for push in PUSHES]) * 1e-3
  spacing = 3e-4  # m, near enough for one Newton step
  arm, path = np.asarray(state.qpos)[:, :6], []
  for depth in np.arange(-_ABOVE, _PAST + spacing / 2, spacing):
    offset[:, 2] = -depth
    arm = solve(state, arm, offset, turn)
    path.append(arm)
  path = np.stack(path)
  commands = np.zeros((_STEPS, len(PUSHES), bench.ACTION_DIM), np.float32)
  speeds = np.array([push.speed for push in PUSHES]) * 1e-3
  for k in range(_STEPS):
    index = np.rint((k + 1) * speeds * _PERIOD / spacing).astype(int)
    index = np.minimum(index, len(path) - 1)
    commands[k, :, :6] = path[index, np.arange(len(PUSHES))]
  return commands


def _run_mjx(state, commands, step, tip_in_socket):
  """Returns depths [T, 20] and lateral offsets [T, 20, 2], m."""
  depths, laterals = [], []
  for command in commands:
    # Force and success would end the world; contact is what is looked at.
    going = jnp.full_like(state.outcome, EthernetOutcome.RUNNING)
    state = step(state.replace(outcome=going), jnp.asarray(command))
    tip = tip_in_socket(state)
    depths.append(np.asarray(tip.depth))
    laterals.append(np.asarray(tip.lateral))
  return np.stack(depths), np.stack(laterals)


def _quat(rotvec):
  quat, angle = np.zeros(4), np.linalg.norm(rotvec)
  mujoco.mju_axisAngle2Quat(quat, rotvec / angle, angle)
  return quat


def _run_c(task, scene, state, commands, row):
  """Returns the depth [T], m, of one world by C MuJoCo in float64."""
  model, plug = copy.copy(scene.mj_model), scene.plug_body
  low, high = scene.joint_low, scene.joint_high
  reach = task_lib.max_reach(task.config)
  get = {k: np.array(v[row], np.float64) for k, v in state.items()}
  model.body_pos[plug] += get['grasp_pos']
  model.body_quat[plug] = _quat(get['grasp_rot'])
  model.pair_friction[:, :2] = get['friction']
  data = mujoco.MjData(model)
  data.qpos[:] = get['qpos']
  data.mocap_pos[0], data.mocap_quat[0] = (
    get['socket_pos'],
    _quat(get['socket_rot']),
  )
  axis = np.zeros(3)
  mujoco.mju_rotVecQuat(axis, np.array([0.0, 0.0, 1.0]), data.mocap_quat[0])
  depths = []
  for command in commands[:, row]:
    measured = bench.to_joints(np.array(data.qpos))
    executed = action_space.limit_command(command, measured, reach, low, high)
    data.ctrl[:] = bench.to_actuators(np.asarray(executed))
    mujoco.mj_step(model, data, task.config.substeps)
    mujoco.mj_kinematics(model, data)
    down = data.xmat[plug].reshape(3, 3)[:, 2]
    tip = data.xpos[plug] - scene_lib.PLUG_LENGTH * down
    depths.append(axis @ (get['socket_pos'] - tip))
  return np.array(depths)


class Runs(NamedTuple):
  """mjx, c: [T, 20] depth, m. lateral: [T, 20, 2] m, in MJX."""

  mjx: np.ndarray
  c: np.ndarray
  lateral: np.ndarray


@pytest.fixture(scope='module')
def runs(task, scene, starts, solve, place, step, tip_in_socket):
  state = _world(starts)
  offset = [(*np.array(p.offset) * 1e-3, _ABOVE) for p in PUSHES]
  state = place(state, offset, np.deg2rad([p.turn for p in PUSHES]))
  commands = _stream(state, solve)
  mjx, lateral = _run_mjx(state, commands, step, tip_in_socket)
  c = [_run_c(task, scene, state, commands, row) for row in range(len(PUSHES))]
  return Runs(mjx, np.stack(c, axis=1), lateral)


@pytest.fixture(params=range(len(PUSHES)), ids=[p.name for p in PUSHES])
def row(request):
  return request.param


def test_every_push_ends_where_the_geometry_says(runs, row, task):
  ends = PUSHES[row].ends
  seated = task.config.seated_mm * 1e-3
  for depth in (runs.mjx[-1, row], runs.c[-1, row]):
    assert (depth >= seated) == (ends == 'seated'), f'{depth * 1e3:.2f} mm'
    if ends == 'face':
      assert abs(depth) < 5e-4, f'{depth * 1e3:.2f} mm'


def test_mjx_and_c_end_at_the_same_depth(runs, row):
  apart = abs(runs.mjx[-1, row] - runs.c[-1, row]) * 1e3
  assert apart <= _AGREE[PUSHES[row].ends], f'{apart:.3f} mm'


def test_nothing_goes_through_the_face_or_the_floor(runs, row):
  # A blow at the limit sinks in by 0.7 mm.
  stop = 0.0 if PUSHES[row].ends == 'face' else scene_lib.SOCKET_DEPTH
  for depth in (runs.mjx[:, row], runs.c[:, row]):
    assert depth.max() <= stop + 1e-3, f'{depth.max() * 1e3:.2f} mm'


def test_a_plug_inside_stays_between_the_walls(runs, row, scene):
  inside = runs.mjx[:, row] > 0.002
  lateral = np.abs(runs.lateral[inside, row])
  # A tilted tip's middle leans out by as much as its far corner dips.
  assert inside.any() == (PUSHES[row].ends != 'face')
  assert (lateral <= scene.clearance + 3e-4).all(), f'{lateral.max()} m'


def test_a_tilted_plug_wedges_where_it_touches_both_sides(runs, scene):
  row = [push.name for push in PUSHES].index('tilt x 8')
  # Both edges that touch are rounded: the nose's and the mouth's.
  depth = 2 * scene.clearance / np.tan(np.deg2rad(8.0)) + 2 * _CHAMFER
  np.testing.assert_allclose(runs.c[-1, row], depth, atol=5e-4)
  np.testing.assert_allclose(runs.mjx[-1, row], depth, atol=5e-4)
