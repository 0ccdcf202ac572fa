"""The settings of MuJoCo Playground's AlohaSinglePegInsertion, on primitives.

That task downloads its meshes when it runs, so the links here are capsules of
about their length. Everything that costs time is as in that task: two six-joint
arms whose two fingers share an actuator, a free peg and a free socket of five
boxes, the geom pairs that may touch, contact dimensions, solver, integrator and
physics step. Rewards and observations are left out. The peg and the socket
start on the table, within 0.1 m of their nominal positions, as in that task.
The arms do not move.

Its step is one physics step of 2.5 ms, and its training repeats each action
twice.
"""

from collections.abc import Callable
import math
from typing import NamedTuple

import jax
import mujoco
from mujoco import mjx
import numpy as np

from rlt_jax import sharding
from rlt_jax.sim.compilation import jit
from rlt_jax.sim.worlds import over_worlds

CONTROL_S = 0.0025  # s, one control step, one physics step
LABEL = 'playground settings on primitive geometry'

_SPREAD = 0.1  # m, peg and socket at the start, uniform +- in x and y
_OPENING = 0.03  # m, a finger at the start


class _Joint(NamedTuple):
  """range: rad. force: Nm. length: m, along x or up, to the next joint."""

  axis: str
  range: tuple[float, float]
  kp: float
  damping: float
  armature: float
  friction: float
  force: float
  length: tuple[float, float]


_ROUND = (-3.14158, 3.14158)
_JOINTS = (
  _Joint('0 0 1', _ROUND, 43, 5.76, 0, 0, 35, (0, 0.05)),
  _Joint('0 1 0', (-1.85, 1.257), 265, 20, 0.395, 2, 144, (0.06, 0.3)),
  _Joint('0 1 0', (-1.763, 1.606), 227, 18.5, 0.383, 1.15, 59, (0.2, 0)),
  _Joint('1 0 0', _ROUND, 78, 6.78, 0.14, 0, 22, (0.1, 0)),
  _Joint('0 1 0', (-1.868, 2.234), 37, 6.28, 0.008, 0, 35, (0.07, 0)),
  _Joint('1 0 0', _ROUND, 10.4, 1.2, 0, 0, 35, (0.035, 0)),
)
_TOUCHES = 'contype="0" conaffinity="1" condim="3" solref=".01 1"'
_BOX = (
  'type="box" contype="1" conaffinity="1" condim="4" solref=".01 1" '
  'friction="1 .05 .001"'
)
# Half sizes and places of the socket's boxes, m: a tube and its end.
_SOCKET = (
  ('.048 .022 .002', '0 0 -.02', 0.016),
  ('.048 .022 .002', '0 0 .02', 0.016),
  ('.048 .002 .018', '0 -.02 0', 0.016),
  ('.048 .002 .018', '0 .02 0', 0.016),
  ('.004 .018 .018', '-.044 0 0', 0.006),
)


def model() -> mujoco.MjModel:
  """Compiles the scene."""
  socket = ''.join(
    f'<geom {_BOX} size="{size}" pos="{pos}" mass="{mass}"/>'
    for size, pos, mass in _SOCKET
  )
  sides = ('left', 'right')
  return mujoco.MjModel.from_xml_string(f"""
    <mujoco model="two arms, a peg and a socket">
      <compiler angle="radian" autolimits="true"/>
      <option timestep="{CONTROL_S}" integrator="implicitfast" impratio="5"
        iterations="10" ls_iterations="10"/>
      <custom><numeric name="max_contact_points" data="24"/></custom>
      <worldbody>
        <geom type="plane" size=".6 .4 .1"/>
        {_arm('left', -0.47, 0.0)}
        {_arm('right', 0.47, np.pi)}
        <body name="socket" pos="-.15 0 .0225"><freejoint/>{socket}</body>
        <body name="peg" pos=".15 0 .0105"><freejoint/>
          <geom {_BOX} size=".048 .01 .01" mass=".044"/></body>
      </worldbody>
      <equality>{''.join(_coupling(side) for side in sides)}</equality>
      <actuator>{''.join(_actuators(side) for side in sides)}</actuator>
    </mujoco>""")


def _arm(side: str, x: float, turn: float) -> str:
  """Returns an arm's bodies, base to fingers."""
  text = f'<body pos="{x} 0 .1" euler="0 0 {turn}">'
  for i, joint in enumerate(_JOINTS):
    along, up = joint.length
    text += f"""
      <joint name="{side}_{i}" axis="{joint.axis}" damping="{joint.damping}"
        range="{joint.range[0]} {joint.range[1]}" armature="{joint.armature}"
        frictionloss="{joint.friction}"
        actuatorfrcrange="-{joint.force} {joint.force}"/>
      <geom type="capsule" size=".025" fromto="0 0 0 {along} 0 {up}" mass=".5"
        contype="0" conaffinity="0"/>
      <body pos="{along} 0 {up}">"""
  fingers = ''.join(_finger(side, sign) for sign in (1, -1))
  hand = f'<geom type="capsule" size=".03" fromto="0 -.05 0 0 .05 0" {_TOUCHES}'
  return f'{text}{hand} mass=".4"/>{fingers}' + '</body>' * (len(_JOINTS) + 1)


def _finger(side: str, sign: int) -> str:
  """Returns a finger that slides sideways, of two capsules."""
  near, far = 0.02 * sign, 0.005 * sign
  capsules = ''.join(
    f'<geom type="capsule" size=".005" mass=".04" {_TOUCHES} '
    f'fromto=".02 {near} {z} .09 {far} {z / 2}"/>'
    for z in (0.01, -0.01)
  )
  return f"""<body name="{side}_finger{sign}" pos=".02 0 0">
    <joint name="{side}_finger{sign}" type="slide" axis="0 {sign} 0"
      armature=".243" damping="40" range="0 .041"/>{capsules}</body>"""


def _coupling(side: str) -> str:
  return f'<joint joint1="{side}_finger1" joint2="{side}_finger-1"/>'


def _actuators(side: str) -> str:
  arm = ''.join(
    f'<position joint="{side}_{i}" kp="{joint.kp}"/>'
    for i, joint in enumerate(_JOINTS)
  )
  return arm + f'<position joint="{side}_finger1" kp="365"/>'


def make(
  worlds: int, steps: int, mesh: jax.sharding.Mesh | None = None
) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
  """Returns a function that runs `steps` control steps, and its argument.

  The function maps qpos [E, 30], rad and m, to qpos [E, 30].

  Args:
    worlds: E.
    steps: control steps per call; the arms' commands stay at their start.
    mesh: devices that the worlds are split over; None uses one device.
  """
  compiled = model()
  engine = mjx.put_model(compiled, impl='jax')
  start = np.array(compiled.qpos0, np.float32)
  for side in ('left', 'right'):
    for sign in (1, -1):
      joint = compiled.joint(f'{side}_finger{sign}')
      start[joint.qposadr[0]] = _OPENING
  control = np.zeros(compiled.nu, np.float32)
  control[[6, 13]] = _OPENING
  rng = np.random.default_rng(0)
  qpos = np.tile(start, (worlds, 1))
  for name in ('socket', 'peg'):
    row = compiled.jnt_qposadr[compiled.body(name).jntadr[0]]
    qpos[:, row : row + 2] += rng.uniform(-_SPREAD, _SPREAD, (worlds, 2))

  def one(qpos):
    data = mjx.make_data(engine, impl='jax').replace(qpos=qpos, ctrl=control)
    step = lambda data, _: (mjx.step(engine, data), None)  # noqa: E731
    return jax.lax.scan(step, data, length=steps)[0].qpos

  many, qpos = over_worlds(one), jax.numpy.asarray(qpos)
  if mesh is None:
    return jit(many), qpos

  def share(qpos):
    # With 32 such worlds on each of two devices jaxlib 0.10.2 deadlocks, see
    # `sim.worlds`; with 16 it does not.
    size = math.gcd(len(qpos), 16)
    return jax.lax.map(many, qpos.reshape(-1, size, 30)).reshape(qpos.shape)

  run = jit(sharding.shard_map_data(share, mesh))
  return run, sharding.shard(qpos, mesh)
