"""Loads the zip tie's scene at one clearance."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import kinematics, physics, two_arm_scene, variation
from rlt_jax.sim.kinematics import Chain
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.tasks import bench_opening
from rlt_jax.tasks.bench_opening import Opening
from rlt_jax.tasks.zip_tie.config import ZipTieConfig
from rlt_jax.tasks.zip_tie.state import State

SEGMENTS = (0.012, 0.012, 0.012)  # m, grasp to tip, between the strap's joints
STRAP_LENGTH = sum(SEGMENTS)
SLOT_LENGTH = 0.008  # m, from the mouth to the far end
MOUTH_HOME = np.array([0.0, 0.015, 0.08])  # m, world, where the hands meet
_THIN, _WIDE = 0.0011, 0.0046  # m, the strap's cross section
_WALL_HALF = 0.002  # m, half a wall's thickness
_RIM_RADIUS = 0.0005  # m
_PAWL_PLAY = 0.0005  # m, that the strap slips back onto its tooth
_UNCAUGHT = 1.0  # m, longer than the strap
_WALLS = ('wall_xp', 'wall_xn', 'wall_yp', 'wall_yn')
# Cameras: what they are aimed at, m in the parent's frame, and degrees.
_VIEWS = (
  ('base', (0.0, 0.015, 0.09), 16.0),
  ('wrist_left', (0.045, 0.0, -0.105), 24.0),
  ('wrist_right', (0.0, 0.0, -0.152), 22.0),
)
_RIMS = ('xp_p', 'xp_n', 'xn_p', 'xn_n', 'yp', 'yn')  # at both ends


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
  """The compiled models and what the simulator needs to know of them.

  world: the models. config: what they were compiled with. opening: how the
  clearance changes the geoms. strap_body, head_body: ids. right: the arm whose
  tool is the straight strap. left: the other arm; head: the same with the
  slot's mouth as its tool. joint_low, joint_high: [A] rad and m.
  """

  world: physics.World
  config: ZipTieConfig
  opening: Opening
  strap_body: int
  head_body: int
  right: Chain
  left: Chain
  head: Chain
  joint_low: np.ndarray
  joint_high: np.ndarray

  @property
  def mj_model(self) -> mujoco.MjModel:
    """The scene as a model of C MuJoCo."""
    return self.world.mj_model


def load(config: ZipTieConfig | None = None) -> Scene:
  """Compiles the scene at a clearance and with the physics of a config.

  Args:
    config: of the task; the defaults if None.
  """
  config = config or ZipTieConfig()
  spec = two_arm_scene.compose(
    two_arm_scene.read_asset('rlt_jax.tasks.zip_tie', 'zip_tie.xml'),
    name='zip_tie',
    timestep=config.timestep,
    solver_iterations=config.solver_iterations,
  )
  for name, target, fovy in _VIEWS:
    _aim(spec.camera(name), np.array(target), fovy)
  _move_walls(spec, config.clearance_mm * 1e-3)
  # The middle of the strap comes to the slot's far end when it is tight.
  flanks = ('top', 'strap_mid'), ('top', 'strap_tip'), ('end', 'strap_tip')
  two_arm_scene.add_contacts(
    spec,
    [
      *((tip, wall) for tip in ('tip_p', 'tip_n') for wall in _WALLS),
      *((f'rim_{end}_{rim}', part) for end, part in flanks for rim in _RIMS),
    ],
    time_constant=config.contact_time_constant,
  )
  _add_loop(spec, config)
  model = spec.compile()
  opening = bench_opening.measure(spec, _move_walls, config.clearance_mm * 1e-3)
  return _build(model, opening, config)


def _build(
  model: mujoco.MjModel, opening: Opening, config: ZipTieConfig
) -> Scene:
  strap, head = model.body('strap').id, model.body('head').id
  low, high = two_arm_scene.joint_limits()
  right = two_arm_scene.arm_chain(
    model, 'right', grasp=model.body_pos[strap], tool_length=STRAP_LENGTH
  )
  held = two_arm_scene.arm_chain(model, 'left', grasp=model.body_pos[head])
  set_model = functools.partial(
    _set_model, (right, strap), (held, head), opening
  )
  return Scene(
    world=physics.World(
      mj_model=model,
      # MJX's default would be the first device of all hosts.
      mjx_model=mjx.put_model(model, jax.local_devices()[0], impl='jax'),
      set_model=set_model,
      set_data=_set_data,
    ),
    config=config,
    opening=opening,
    strap_body=strap,
    head_body=head,
    right=right,
    left=two_arm_scene.arm_chain(model, 'left'),
    head=held,
    joint_low=low,
    joint_high=high,
  )


def pawl_limit(caught: jax.Array) -> jax.Array:
  """Returns how far, m, the grasp may be from the mouth; for NumPy or JAX.

  Args:
    caught: [] m, see `State`.
  """
  held = caught > 0.0
  return held * (STRAP_LENGTH - caught + _PAWL_PLAY) + ~held * _UNCAUGHT


def _add_loop(spec: mujoco.MjSpec, config: ZipTieConfig) -> None:
  """Adds the strap as a tendon: the pawl's limit and the bundle's spring."""
  rest = STRAP_LENGTH - config.bundle_from_mm * 1e-3
  tendon = spec.add_tendon(
    name='strap',
    limited=True,
    range=[0.0, _UNCAUGHT],
    stiffness=config.bundle_n_per_mm * 1e3,
    springlength=[rest, _UNCAUGHT],
    solref_limit=[config.contact_time_constant, 1.0],
  )
  tendon.wrap_site('grasp')
  tendon.wrap_site('slot')


def _move_walls(spec: mujoco.MjSpec, clearance: float) -> None:
  """Moves walls and rims to a clearance, m."""
  opening = {'x': _THIN / 2 + clearance, 'y': _WIDE / 2 + clearance}
  for axis, letter in enumerate('xy'):
    for sign, side in ((1, 'p'), (-1, 'n')):
      moved = [f'wall_{letter}{side}']
      _put(spec, moved[0], axis, sign * (opening[letter] + _WALL_HALF))
      for end in ('top', 'end'):
        for rim in _RIMS:
          if rim.startswith(letter + side):
            at = sign * (opening[letter] + _RIM_RADIUS)
            _put(spec, f'rim_{end}_{rim}', axis, at)
  for side in 'pn':
    _widen(spec, f'wall_x{side}', 1, opening['y'] + 2 * _WALL_HALF)
    _widen(spec, f'wall_y{side}', 0, opening['x'] + 2 * _WALL_HALF)
  _widen(spec, 'head_dark', 0, opening['x'])
  _widen(spec, 'head_dark', 1, opening['y'])


def _aim(camera: mujoco.MjsCamera, target: np.ndarray, fovy: float) -> None:
  """Aims a camera at a point [3] m of its parent; the image's up is z."""
  back = np.array(camera.pos) - target
  back /= np.linalg.norm(back)
  side = np.cross([0.0, 0.0, 1.0], back)
  side /= np.linalg.norm(side)
  mat = np.stack([side, np.cross(back, side), back], axis=1)
  quat = np.zeros(4)
  mujoco.mju_mat2Quat(quat, mat.ravel())
  camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
  camera.quat, camera.fovy = quat, fovy


def _put(spec: mujoco.MjSpec, name: str, axis: int, value: float) -> None:
  pos = np.array(spec.geom(name).pos)
  pos[axis] = value
  spec.geom(name).pos = pos


def _widen(spec: mujoco.MjSpec, name: str, axis: int, half: float) -> None:
  size = np.array(spec.geom(name).size)
  size[axis] = half
  spec.geom(name).size = size


def _set_model(
  strap: tuple[Chain, int],
  head: tuple[Chain, int],
  opening: Opening,
  model: mjx.Model,
  state: State,
) -> mjx.Model:
  """Returns the model of one world: grasps, friction, pawl and variation."""
  model = variation.set_model(model, state.variation)
  model = bench_opening.set_model(model, opening, state.tighter)
  pos, quat = model.body_pos, model.body_quat
  for (chain, body), shift, turn in (
    (strap, state.strap_pos, state.strap_rot),
    (head, state.head_pos, state.head_rot),
  ):
    pos = pos.at[body].set(jnp.asarray(chain.grasp) + shift)
    quat = quat.at[body].set(kinematics.quaternion(turn))
  held = state.caught > 0.0
  return model.tree_replace(
    {
      'body_pos': pos,
      'body_quat': quat,
      'pair_friction': model.pair_friction.at[:, :2].set(state.friction),
      'tendon_range': model.tendon_range.at[0, 1].set(pawl_limit(state.caught)),
      'tendon_stiffness': model.tendon_stiffness * held,
    }
  )


def _set_data(data: mjx.Data, state: State) -> mjx.Data:
  """Returns data at the state's configuration."""
  return data.replace(
    qpos=state.qpos, qvel=state.qvel, qacc_warmstart=state.warmstart
  )
