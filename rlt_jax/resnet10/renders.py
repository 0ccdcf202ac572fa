"""Renders of random solids before a random camera, to train the trunk on.

Nothing of a task is in them: neither its scene, nor its cameras, nor its
poses. Each scene has two solids of random shape, size and color above a plane;
each picture has new poses of them all.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import camera, physics
from rlt_jax.types import Array, PRNGKey

SOLIDS = 2
TARGETS = 9 * SOLIDS  # see `Picture.targets`
_SHAPES = (
  mujoco.mjtGeom.mjGEOM_BOX,
  mujoco.mjtGeom.mjGEOM_CAPSULE,
  mujoco.mjtGeom.mjGEOM_SPHERE,
)
_NEAR, _FAR = 0.12, 0.5  # m, from the camera to the middle of the solids
_SPREAD = 0.35  # of that distance, within which the solids lie
_FOV = 60.0  # degrees


class Picture(NamedTuple):
  """Pictures and where the solids are; leaves lead with [B].

  images: uint8 [B, S, S, 3]. targets: [B, 18], for each solid its position in
  the camera's frame, (x / z, y / z, log z), and the six entries of its axis
  times itself, which are the same for an axis and its opposite.
  """

  images: Array
  targets: Array


class Scene:
  """Random solids; one compiled program for all its pictures."""

  def __init__(self, seed: int, size: int):
    """Draws shapes, sizes and colors.

    Args:
      seed: of the solids.
      size: S, pixels a side.
    """
    model = _make_model(np.random.default_rng(seed))
    # The renderer reads the compiled scene; its functions of a state, which
    # need the rest of a world, are never called.
    world = physics.World(model, None, None, None)
    self._render = camera.make(world, (camera.CameraSpec('eye'),), size=size)

  def draw(self, key: PRNGKey, pictures: int) -> Picture:
    """Returns pictures of new poses; the key is consumed."""
    poses, targets = _draw_poses(key, pictures)
    images = self._render.shade(self._render.cast(poses))['eye']
    return Picture(images, targets)


def _make_model(rng: np.random.Generator) -> mujoco.MjModel:
  spec = mujoco.MjSpec()
  spec.worldbody.add_camera(name='eye', fovy=_FOV)
  spec.worldbody.add_geom(
    name='plane',
    type=mujoco.mjtGeom.mjGEOM_PLANE,
    size=[1.5, 1.5, 0.1],
    rgba=[*rng.uniform(0.1, 0.9, 3), 1.0],
  )
  for i in range(SOLIDS):
    spec.worldbody.add_geom(
      name=f'solid_{i}',
      type=_SHAPES[rng.integers(len(_SHAPES))],
      size=rng.uniform(0.01, 0.04, 3),
      rgba=[*rng.uniform(0.05, 0.95, 3), 1.0],
    )
  return spec.compile()


@functools.partial(jax.jit, static_argnums=1)
def _draw_poses(key: PRNGKey, pictures: int) -> tuple[camera.Poses, Array]:
  """Returns poses of camera and geoms [B], and `Picture.targets`."""
  return jax.vmap(_draw_pose)(jax.random.split(key, pictures))


def _draw_pose(key: PRNGKey) -> tuple[camera.Poses, Array]:
  turn_key, far_key, place_key, solid_key, plane_key = jax.random.split(key, 5)
  eye = _random_rotation(turn_key)  # columns: right, up, backward
  far = jnp.exp(
    jax.random.uniform(far_key, (), minval=np.log(_NEAR), maxval=np.log(_FAR))
  )
  # In the camera's frame, which looks along -z.
  shift = jax.random.uniform(place_key, (SOLIDS, 3), minval=-1.0, maxval=1.0)
  seen = jnp.array([0.0, 0.0, -far]) + shift * _SPREAD * far
  turns = jax.vmap(_random_rotation)(jax.random.split(solid_key, SOLIDS))
  tilt = _random_rotation(plane_key)
  # The plane faces the camera, behind all solids, tilted a little.
  plane = jnp.linalg.qr(jnp.eye(3) + 0.3 * tilt)[0]
  plane = plane * jnp.sign(jnp.diag(plane))
  behind = jnp.array([0.0, 0.0, -far * (1.0 + 2.0 * _SPREAD)])
  in_eye = jnp.concatenate([plane[None], turns])
  poses = camera.Poses(
    camera_pos=jnp.zeros((1, 3)),
    camera_mat=eye.reshape(1, 9),
    geom_pos=jnp.concatenate([behind[None], seen]) @ eye.T,
    geom_mat=(eye @ in_eye).reshape(-1, 9),
  )
  depth = -seen[:, 2:]
  axis = turns[:, :, 2]
  square = axis[:, :, None] * axis[:, None, :]
  rows, columns = np.triu_indices(3)
  targets = jnp.concatenate(
    [seen[:, :2] / depth, jnp.log(depth), square[:, rows, columns]], axis=1
  )
  return poses, targets.ravel()


def _random_rotation(key: PRNGKey) -> Array:
  """Returns a rotation [3, 3], uniform; the key is consumed."""
  q = jax.random.normal(key, (4,))
  w, x, y, z = q / jnp.linalg.norm(q)
  return jnp.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
      [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
      [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
  )
