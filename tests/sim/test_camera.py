"""The cameras against MuJoCo's own ray-caster, and against themselves."""

import copy

import jax
import mujoco
import numpy as np
import pytest

from rlt_jax.sim import camera, physics
from rlt_jax.tasks.ethernet.task import CAMERAS, IMAGE_SIZE

_WORLDS = 20
_WRISTS = ('wrist_left', 'wrist_right')
_DEPTHS = (-0.02, -0.01, -0.002, 0.008)  # m, of the four worlds looked at
_LIGHT = np.array([0.35, -0.5, 0.79]) / np.linalg.norm([0.35, -0.5, 0.79])


@pytest.fixture(scope='module')
def render(scene):
  """The cameras as users compile them, with LLVM's optimizer."""
  level = {'xla_backend_optimization_level': 3}
  made = camera.make(scene.world, CAMERAS, size=IMAGE_SIZE)
  poses = level | {'xla_cpu_use_fusion_emitters': False}
  return camera.Renderer(
    *(
      jax.jit(part.__wrapped__, compiler_options=options)
      for part, options in zip(made, (poses, level, level), strict=True)
    )
  )


@pytest.fixture(scope='module')
def state(starts, place):
  """State [20]: tips above, near and in the socket; the rest are starts."""
  offset = np.zeros((_WORLDS, 3), np.float32)
  offset[:, 2] = 0.02
  offset[: len(_DEPTHS), 2] = -np.array(_DEPTHS)
  return place(starts, offset, np.zeros((_WORLDS, 3), np.float32))


@pytest.fixture(scope='module')
def images(render, state):
  return jax.tree.map(np.asarray, dict(render(state)))


def _quat(rotvec):
  quat, angle = np.zeros(4), float(np.linalg.norm(rotvec))
  mujoco.mju_axisAngle2Quat(quat, np.float64(rotvec) / angle, angle)
  return quat


def _cast_with_mujoco(scene, state, row, name):
  """Returns what MuJoCo's rays hit.

  Geom ids [S*S, rays a pixel] and the pixels' colors [S*S, 3].
  """
  model = copy.copy(scene.mj_model)
  # The walls' tops overlap at the corners, at the same distance. MuJoCo may
  # report either wall; the renderer reports that in x, so lower those in y.
  for name_y in ('wall_yp', 'wall_yn'):
    model.geom(name_y).size -= np.array([1e-5, 0.0, 1e-5])
  plug = model.body('plug').id
  model.body_pos[plug] += np.asarray(state.grasp_pos[row])
  model.body_quat[plug] = _quat(state.grasp_rot[row])
  data = mujoco.MjData(model)
  data.qpos[:] = np.asarray(state.qpos[row])
  data.mocap_pos[0] = np.asarray(state.socket_pos[row])
  data.mocap_quat[0] = _quat(state.socket_rot[row])
  mujoco.mj_forward(model, data)
  eye = model.camera(name).id
  samples = {c.name: c.samples for c in CAMERAS}[name]
  size = IMAGE_SIZE * samples
  half = np.tan(np.deg2rad(model.cam_fovy[eye]) / 2)
  grid = ((np.arange(size) + 0.5) / size * 2 - 1) * half
  x, y = np.meshgrid(grid, -grid)
  rays = np.stack([x, y, -np.ones_like(x)], -1).reshape(-1, 3)
  rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
  rays = rays @ data.cam_xmat[eye].reshape(3, 3).T
  ids = np.zeros(size * size, np.int32)
  distance, normal = np.zeros(size * size), np.zeros((size * size, 3))
  mujoco.mj_multiRay(
    model, data, data.cam_xpos[eye], rays.ravel(), None, True, -1, ids,
    distance, normal.reshape(-1), size * size, 1.9,
  )  # fmt: skip
  shade = 0.45 + 0.55 * np.clip(normal @ _LIGHT, 0, 1)
  colors = model.geom_rgba[ids, :3] * shade[:, None] * 255
  colors[ids < 0] = np.array([0.18, 0.20, 0.24]) * 255

  def by_pixel(x):
    shape = (IMAGE_SIZE, samples, IMAGE_SIZE, samples, -1)
    return x.reshape(shape).swapaxes(1, 2).reshape(-1, samples**2, x[0].size)

  return by_pixel(ids)[..., 0], by_pixel(colors).mean(axis=1)


@pytest.mark.parametrize('name', tuple(c.name for c in CAMERAS))
@pytest.mark.parametrize('row', range(len(_DEPTHS)))
def test_every_pixel_sees_what_mujocos_ray_hits(
  row, name, scene, images, state
):
  ids, colors = _cast_with_mujoco(scene, state, row, name)
  seen = images[name][row].reshape(-1, 3)
  # A geom's color and its face's shade: 6 of 255 is two steps of shading.
  same = np.abs(seen - colors).max(axis=1) <= 6
  assert same.mean() > 0.99, f'{100 * same.mean():.2f} %'
  # A wrong geom is not hidden among the many pixels of the bench.
  for geom in np.unique(ids):
    whole = (ids == geom).all(axis=1)
    if whole.sum() >= 40:
      assert same[whole].mean() > 0.9, f'geom {geom}'


@pytest.mark.parametrize('name', _WRISTS)
def test_the_wrists_see_the_plug_and_the_socket(name, scene, state):
  model = scene.mj_model
  ids, _ = _cast_with_mujoco(scene, state, 2, name)
  names = {model.geom(g).name for g in np.unique(ids) if g >= 0}
  assert 'plug' in names
  assert any(g.startswith('wall_') for g in names)


def test_the_socket_hides_the_nose_of_a_plug_that_is_in(scene, state):
  plug = scene.mj_model.geom('plug').id
  pixels = [
    (_cast_with_mujoco(scene, state, row, 'wrist_left')[0] == plug).sum()
    for row in (2, 3)
  ]
  assert pixels[1] < pixels[0]


def test_images_have_the_shapes_of_an_observation(images):
  assert tuple(images) == tuple(c.name for c in CAMERAS)
  for image in images.values():
    assert image.shape == (_WORLDS, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_the_same_state_gives_the_same_images(render, state, images):
  again = dict(render(state))
  jax.tree.map(np.testing.assert_array_equal, again, images)


def test_a_batch_of_one_equals_its_row(render, state, images):
  one = render(jax.tree.map(lambda x: x[:1], state))
  for name, image in one.items():
    np.testing.assert_array_equal(image[0], images[name][0])


@pytest.mark.parametrize('axis', [0, 1], ids='xy')
@pytest.mark.parametrize('name', _WRISTS)
def test_half_a_millimetre_of_the_socket_shows(
  name, axis, render, state, images
):
  moved = state.replace(socket_pos=state.socket_pos.at[:, axis].add(5e-4))
  after = np.asarray(render(moved)[name]).astype(int)
  changed = (np.abs(after - images[name]).max(axis=-1) > 10).sum(axis=(1, 2))
  assert changed.min() > 40, changed


def test_the_view_for_people_is_what_its_camera_sees(scene, state, images):
  view = camera.make_view(scene.world, CAMERAS[1])
  seen = np.asarray(view(jax.tree.map(lambda x: x[:2], state)))
  side = camera.VIEW_SIZE
  assert seen.shape == (2, side, side, 3) and seen.dtype == np.uint8
  ratio = side // IMAGE_SIZE
  small = seen.reshape(2, IMAGE_SIZE, ratio, IMAGE_SIZE, ratio, 3).mean((2, 4))
  apart = np.abs(small - images['wrist_left'][:2]).max(-1)
  # It shows the arms as well.
  assert np.median(apart) < 1.0 and (apart > 20).mean() < 0.2


@pytest.mark.parametrize('size', [0, 63])
def test_too_small_an_image_is_refused(size, scene):
  with pytest.raises(ValueError, match=f'at least 64 pixels: {size}'):
    camera.make(scene.world, CAMERAS, size=size)


def test_a_camera_that_would_draw_too_many_geoms_is_refused(monkeypatch, scene):
  monkeypatch.setattr(camera, '_MAX_GEOMS', 10)
  with pytest.raises(ValueError, match="at most 10 geoms: 'base' has"):
    camera.make(scene.world, CAMERAS, size=64)


def test_a_shape_that_is_not_drawn_is_refused():
  model = mujoco.MjModel.from_xml_string("""
    <mujoco><worldbody>
      <camera name="base" pos="0 0 1"/>
      <geom name="can" type="cylinder" size="0.1 0.1"/>
    </worldbody></mujoco>
  """)
  world = physics.World(model, None, None, None)
  with pytest.raises(ValueError, match="geom 'can' is mjGEOM_CYLINDER"):
    camera.make(world, [camera.CameraSpec('base')], size=64)
