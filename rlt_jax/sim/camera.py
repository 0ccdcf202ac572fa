"""Three cameras, ray-cast in JAX from the scene's own geometry.

It needs no GL and no display: an image is a function of the state, jitted and
vmapped like the step. Every geom is intersected in closed form with every ray.
The loop over the scene's few geoms is unrolled, so that XLA compiles one loop
over pixels. Shading is one distant light plus ambient, no shadows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rlt_jax.sim import physics
from rlt_jax.sim.compilation import jit
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.sim.precision import full_precision
from rlt_jax.types import Array

VIEW_SIZE = 256  # pixels
_LIGHT = np.array([0.35, -0.5, 0.79])  # world, toward the light
_AMBIENT = 0.45
_SKY = (0.18, 0.20, 0.24)
_RANGE = 1.9  # m, beyond it a ray sees the sky
_STEPS_PER_M = 2.0**19  # 20 bits of distance: 2 um
_MISS = np.uint32(0xFFFFFFFF)
_MAX_GEOMS = 64  # a hit's key has six bits for the geom


class CameraSpec(NamedTuple):
  """One camera of a scene.

  name: in the scene. samples: rays per side of a pixel; a pixel is the mean of
  samples**2 rays, so that motions below a pixel change it. geoms: name prefixes
  of the geoms to draw; None draws all. hidden: name prefixes of geoms that are
  never drawn.
  """

  name: str
  samples: int = 1
  geoms: tuple[str, ...] | None = None
  hidden: tuple[str, ...] = ()


class Poses(NamedTuple):
  """Poses of cameras and geoms: positions [..., 3] m, matrices [..., 9]."""

  camera_pos: Array
  camera_mat: Array
  geom_pos: Array
  geom_mat: Array


class Renderer(NamedTuple):
  """`render(state [B])`: camera name -> uint8 [B, S, S, 3].

  It makes three jitted calls. On a CPU, kinematics and ray casting need
  opposite XLA settings (see `compilation.jit`). In one program with the
  shading, XLA would cast the rays again for every color channel.

  poses: State [B] -> Poses. cast: Poses -> hit of each ray, by camera.
  shade: hits -> images.
  """

  poses: Callable[[Any], Poses]
  cast: Callable[[Poses], Mapping[str, Array]]
  shade: Callable[[Mapping[str, Array]], Mapping[str, Array]]

  def __call__(self, state: Any) -> Mapping[str, Array]:
    """Renders every camera of every world."""
    return self.shade(self.cast(self.poses(state)))


def make_view(world: physics.World, spec: CameraSpec) -> Callable[[Any], Array]:
  """Builds the picture for people: large, and with all that is in the scene.

  Args:
    world: the compiled scene.
    spec: the camera, with the geoms that are never drawn.

  Returns:
    State [B] -> uint8 [B, VIEW_SIZE, VIEW_SIZE, 3]; not to be called under jit.
  """
  spec = spec._replace(samples=2, geoms=None)
  render = make(world, (spec,), size=VIEW_SIZE)
  return lambda state: render(state)[spec.name]


def make(
  world: physics.World, cameras: Sequence[CameraSpec], *, size: int
) -> Renderer:
  """Builds the renderer of a scene.

  Args:
    world: the compiled scene.
    cameras: the cameras to render.
    size: image side in pixels, at least 64.

  Raises:
    ValueError: the size is below 64, a camera draws more than 64 geoms, or a
      geom has a shape that cannot be drawn.
  """
  if size < 64:
    raise ValueError(f'size must be at least 64 pixels: {size}.')
  model = world.mj_model
  views = {
    spec.name: (
      model.camera(spec.name).id,
      _rays(model, spec.name, size * spec.samples),
      _visible(model, spec),
    )
    for spec in cameras
  }
  palettes = {
    name: _palette(model.geom_rgba[geoms, :3])
    for name, (_, _, geoms) in views.items()
  }

  def poses(state: Any) -> Poses:
    own = physics.world_model(world, state)
    data = physics.world_data(world, own, state)
    data = mjx.camlight(own, mjx.kinematics(own, data))
    return Poses(data.cam_xpos, data.cam_xmat, data.geom_xpos, data.geom_xmat)

  def cast(poses: Poses) -> Mapping[str, Array]:
    return {
      name: _cast(poses, cam, rays, model, geoms)
      for name, (cam, rays, geoms) in views.items()
    }

  def shade(hits: Mapping[str, Array]) -> Mapping[str, Array]:
    return {name: _shade(hits[name], palettes[name], size) for name in views}

  return Renderer(
    jit(jax.vmap(full_precision(poses))),
    jax.jit(jax.vmap(full_precision(cast))),
    jax.jit(jax.vmap(shade)),
  )


def _visible(model: mujoco.MjModel, camera: CameraSpec) -> list[int]:
  """Returns the ids of the geoms that a camera draws."""
  names = [model.geom(g).name for g in range(model.ngeom)]
  found = [
    g
    for g, name in enumerate(names)
    if (camera.geoms is None or name.startswith(camera.geoms))
    and not name.startswith(camera.hidden)
  ]
  if len(found) > _MAX_GEOMS:
    raise ValueError(
      f'A camera must draw at most {_MAX_GEOMS} geoms: {camera.name!r} has '
      f'{len(found)}.'
    )
  for g in found:
    if mujoco.mjtGeom(model.geom_type[g]) not in _SHAPES:
      raise ValueError(
        'A camera draws boxes, capsules, spheres and planes only: geom '
        f'{names[g]!r} is {mujoco.mjtGeom(model.geom_type[g]).name}. Leave it '
        f'out by a prefix in hidden of camera {camera.name!r}.'
      )
  return found


def _rays(model: mujoco.MjModel, camera: str, side: int) -> np.ndarray:
  """Returns ray directions [3, side**2] in the camera's frame, -z forward."""
  half = np.tan(np.deg2rad(model.camera(camera).fovy[0]) / 2)
  grid = (np.arange(side) + 0.5) / side * 2 - 1
  x, y = np.meshgrid(grid * half, -grid * half)
  rays = np.stack([x.ravel(), y.ravel(), -np.ones(side * side)])
  return (rays / np.linalg.norm(rays, axis=0)).astype(np.float32)


def _cast(
  poses: Poses,
  camera: int,
  rays: np.ndarray,
  model: mujoco.MjModel,
  geoms: list[int],
) -> Array:
  """Returns the nearest hit of each ray, uint32 [rays].

  Distance, geom and shade of a hit are packed into one integer, with distance
  in the highest bits, so that the nearest hit is the minimum. With a select per
  quantity XLA would compute every intersection once for each of them.
  """
  nearest = jnp.full(rays.shape[1], _MISS)
  light = jnp.asarray(_LIGHT / np.linalg.norm(_LIGHT), jnp.float32)
  for row, g in enumerate(geoms):
    to_geom = poses.geom_mat[g].reshape(3, 3).T
    start = to_geom @ (poses.camera_pos[camera] - poses.geom_pos[g])
    turn = to_geom @ poses.camera_mat[camera].reshape(3, 3)
    toward = [
      turn[i, 0] * rays[0] + turn[i, 1] * rays[1] + turn[i, 2] * rays[2]
      for i in range(3)
    ]
    shape = _SHAPES[mujoco.mjtGeom(model.geom_type[g])]
    hit, distance, facing = shape(
      start, toward, model.geom_size[g], to_geom @ light
    )
    steps = (distance * _STEPS_PER_M).astype(jnp.int32).astype(jnp.uint32)
    shade = (jnp.clip(facing, 0.0, 1.0) * 63).astype(jnp.int32)
    key = (steps << 12) | (row << 6) | shade.astype(jnp.uint32)
    hit = hit & (distance > 0) & (distance < _RANGE)
    nearest = jnp.minimum(nearest, jnp.where(hit, key, _MISS))
  return nearest


def _palette(rgb: np.ndarray) -> np.ndarray:
  """Returns color levels [4097, 3] by geom and shade; the last is the sky."""
  shade = _AMBIENT + (1 - _AMBIENT) * np.arange(64, dtype=np.float32) / 63
  levels = np.zeros((64, 64, 3), np.float32)
  levels[: len(rgb)] = np.float32(rgb)[:, None] * shade[:, None]
  levels = np.append(levels.reshape(-1, 3), np.float32([_SKY]), axis=0)
  return (levels * np.float32(255)).astype(np.int32)


def _shade(nearest: Array, palette: np.ndarray, size: int) -> Array:
  """Returns the image uint8 [S, S, 3] of hits, the mean over each pixel."""
  index = jnp.where(nearest == _MISS, len(palette) - 1, nearest & 4095)
  levels = jnp.asarray(palette)[index.astype(jnp.int32)]
  samples = round((nearest.shape[0] // size**2) ** 0.5)
  levels = levels.reshape(size, samples, size, samples, 3).sum((1, 3))
  return ((levels + samples**2 // 2) // samples**2).astype(jnp.uint8)


def _box(start: Array, toward: list[Array], size, light: Array):
  """Slab test; the hit face is the slab face entered last."""
  near, far, facing = -1e3, 1e3, 0.0
  for i in range(3):
    inverse = 1.0 / jnp.where(toward[i] == 0, 1e-9, toward[i])
    middle = -start[i] * inverse
    half = size[i] * jnp.abs(inverse)
    entry = middle - half
    later = entry > near
    facing = jnp.where(
      later, jnp.where(inverse > 0, -light[i], light[i]), facing
    )
    near = jnp.maximum(near, entry)
    far = jnp.minimum(far, middle + half)
  return near <= far, near, facing


def _sphere(start: Array, toward: list[Array], size, light: Array):
  radius = float(size[0])
  b = sum(start[i] * toward[i] for i in range(3))
  c = jnp.dot(start, start) - radius**2
  root = b * b - c
  distance = -b - jnp.sqrt(jnp.maximum(root, 0.0))
  facing = sum((start[i] + distance * toward[i]) * light[i] for i in range(3))
  return root > 0, distance, facing / radius


def _capsule(start: Array, toward: list[Array], size, light: Array):
  """The cylinder between the two ends, else the sphere at the nearer end."""
  radius, half = float(size[0]), float(size[1])
  a = toward[0] ** 2 + toward[1] ** 2 + 1e-12
  b = start[0] * toward[0] + start[1] * toward[1]
  c = start[0] ** 2 + start[1] ** 2 - radius**2
  root = b * b - a * c
  side = (-b - jnp.sqrt(jnp.maximum(root, 0.0))) / a
  end = jnp.clip(start[2] + side * toward[2], -half, half)
  on_side = (root > 0) & (jnp.abs(start[2] + side * toward[2]) <= half)
  # A ray that hits the infinite cylinder beyond an end can only hit the sphere
  # at that end; a ray that misses the cylinder misses the capsule.
  dz = start[2] - end
  b_ball = b + dz * toward[2]
  c_ball = c + dz**2
  root_ball = b_ball**2 - c_ball
  ball = -b_ball - jnp.sqrt(jnp.maximum(root_ball, 0.0))
  distance = jnp.where(on_side, side, ball)
  hit = (root > 0) & (on_side | (root_ball > 0))
  height = jnp.clip(start[2] + distance * toward[2], -half, half)
  facing = (
    (start[0] + distance * toward[0]) * light[0]
    + (start[1] + distance * toward[1]) * light[1]
    + (start[2] + distance * toward[2] - height) * light[2]
  )
  return hit, distance, facing / radius


def _plane(start: Array, toward: list[Array], size, light: Array):
  """A plane, bounded by its drawn size."""
  distance = -start[2] / jnp.where(toward[2] == 0, 1e-9, toward[2])
  x = start[0] + distance * toward[0]
  y = start[1] + distance * toward[1]
  hit = (jnp.abs(x) < size[0]) & (jnp.abs(y) < size[1])
  return hit, distance, light[2]


_SHAPES = {
  mujoco.mjtGeom.mjGEOM_BOX: _box,
  mujoco.mjtGeom.mjGEOM_CAPSULE: _capsule,
  mujoco.mjtGeom.mjGEOM_SPHERE: _sphere,
  mujoco.mjtGeom.mjGEOM_PLANE: _plane,
}
