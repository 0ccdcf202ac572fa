"""Datasets opened as demonstrations, whole and by their faults."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.datasets import chunks, mapped_recording, opening
from rlt_jax.datasets.mapped_source import Needs
from rlt_jax.vlas import demo_source
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import dataset
from tests.datasets import aloha_files
from tests.datasets.conftest import CAMERAS, IMAGES, VIDEO
from tests.datasets.lerobot import files
from tests.vlas import shards

_NEEDS = Needs(
  cameras=CAMERAS[:2], image_size=32, proprio_dim=28, horizon=8, action_dim=14
)


def tokenize(text):
  return np.array([len(text), 1, 0], np.int32)


def open_images(mapping, needs=_NEEDS, say=lambda text: None):
  return opening.open_source(IMAGES, needs, tokenize, say, mapping)


def test_a_dataset_becomes_demonstrations(table, save, lossless):
  lines = []
  source = open_images(save(table), say=lines.append)
  assert [x.frames for x in source.episodes] == [20, 25, 30]
  assert source.episodes[2].instruction == 'Lift the plug.'
  assert source.facts.control_hz == 30.0
  assert source.facts.action_mode == 'offset'
  batch = source.read(1)
  state = lossless.read_vectors(1, ['observation.state'])['observation.state']
  action = lossless.read_vectors(1, ['action'])['action']
  gripper = 0.02 + state[:, 6] * 0.02  # from -1..1 to 0..0.04 m
  np.testing.assert_allclose(batch.proprio[:, 6], gripper, rtol=1e-6)
  np.testing.assert_array_equal(batch.proprio[:, 0], state[:, 0])
  speed = (state[6, 0] - state[5, 0]) * 30.0
  np.testing.assert_allclose(batch.proprio[6, 14], speed, rtol=1e-5)
  offset = action[4:12, 0] - state[4, 0]
  np.testing.assert_allclose(
    batch.chunk[4, :6, 0] * source.facts.action_scale[0], offset[:6], atol=1e-6
  )
  # A person takes over at row 10, so this chunk ends with row 9.
  assert batch.chunk_valid[4].tolist() == [True] * 6 + [False] * 2
  assert (batch.chunk[4, 6:] == batch.chunk[4, 5]).all()
  assert batch.prompt[0].tolist() == [16, 1, 0]
  assert batch.images[CAMERAS[0]].shape == (25, 32, 32, 3)
  assert batch.remaining_motion is None
  assert any('left_gripper: 0.02 * left_gripper.pos + 0.02' in x for x in lines)


class _Text(str):
  """A text that a set yields in the reverse order of `_TEXTS`."""

  def __hash__(self):
    return len(_TEXTS) - _TEXTS.index(self)


_TEXTS = ['insert', 'lift', 'touch']


def test_texts_are_tokenized_in_the_order_of_the_episodes(
  table, save, monkeypatch
):
  """A VLA may number them, and hashes of texts differ between processes."""
  monkeypatch.setattr(
    mapped_recording.MappedRecording,
    'instruction',
    lambda self, number: _Text(_TEXTS[number]),
  )
  assert list(set(map(_Text, _TEXTS))) == _TEXTS[::-1]
  seen = []

  def number(text):
    seen.append(text)
    return tokenize(text)

  opening.open_source(IMAGES, _NEEDS, number, mapping=save(table))
  assert seen == _TEXTS


def test_the_scale_is_the_deviation_of_chunks_of_ten_steps(table, save):
  source = open_images(save(table), _NEEDS._replace(horizon=10))
  scale = np.array(source.facts.action_scale)
  steps = []
  for episode in range(3):
    batch = source.read(episode, images=False)
    assert not batch.images
    steps.append(batch.chunk[batch.chunk_valid.all(1)])
  assert len(np.concatenate(steps)) and chunks.UNIT_STEPS == 10
  rms = np.sqrt(np.square(np.concatenate(steps)).mean((0, 1)))
  free = scale > 1.01e-3
  np.testing.assert_allclose(rms[free], 1.0, rtol=1e-4)


def test_rows_are_those_of_the_whole_episode(table, save):
  source = open_images(save(table))
  rows = np.array([7, 3, 3, 20])
  part, whole = source.read_rows(1, rows), source.read(1)
  expected = demos_lib.take(whole, rows)
  for found, truth in zip(part[1:], expected[1:], strict=True):
    np.testing.assert_array_equal(found, truth)
  for camera in source.cameras:
    np.testing.assert_array_equal(part.images[camera], expected.images[camera])


def _empty(file):
  file.write_bytes(b'none')


def _cut_its_end(file):
  """Leaves the index and the first pictures of a video."""
  av = pytest.importorskip('av')
  whole = file.with_name('moved.mp4')
  options = {'movflags': '+faststart'}  # the index comes first
  with av.open(file) as source, av.open(whole, 'w', options=options) as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        target.mux(packet)
  content = whole.read_bytes()
  file.write_bytes(content[: len(content) * 3 // 4])
  whole.unlink()


def test_a_video_that_does_not_decode_is_refused_at_opening(table, save, copy):
  folder = copy(VIDEO)
  files = sorted((folder / 'videos').rglob('*.mp4'))
  assert len(files) == 3

  def open_video():
    opening.open_source(folder, _NEEDS, tokenize, mapping=save(table))

  _empty(files[2])  # of the camera that the VLA does not have
  open_video()
  _empty(files[1])
  with pytest.raises(ValueError, match=f'{files[1]} must decode'):
    open_video()


def test_a_cut_video_is_refused_unless_its_episode_is_left_out(
  table, save, old_folder, tmp_path
):
  folder = shutil.copytree(old_folder, tmp_path / 'old')
  (file,) = (folder / 'videos').rglob(f'*{CAMERAS[0]}/episode_000001.mp4')
  _cut_its_end(file)
  rest = save(table | {'skip_episodes': [1]})
  opening.open_source(folder, _NEEDS, tokenize, mapping=rest)
  with pytest.raises(ValueError, match=f'{file} must (decode|have a picture)'):
    opening.open_source(folder, _NEEDS, tokenize, mapping=save(table))


def test_another_rate_and_a_stride_are_resampled(table, save):
  changes = {'control_hz': 60.0, 'resample': 'linear', 'frame_stride': 4}
  lines = []
  source = open_images(save(table | changes), say=lines.append)
  assert [x.frames for x in source.episodes] == [5, 7, 8]
  same = open_images(save(table))
  batch, plain = source.read(0), same.read(0)
  np.testing.assert_array_equal(batch.proprio, plain.proprio[::4])
  chunk, expected = (
    x.chunk[0] * np.array(y.facts.action_scale)
    for x, y in ((batch, source), (plain, same))
  )
  np.testing.assert_allclose(chunk[::2], expected[:4], atol=1e-6)
  np.testing.assert_allclose(chunk[1], expected[:2].mean(0), atol=1e-6)
  assert 'Chunks are interpolated from 30 rows to 60 steps a second.' in lines


def test_a_vla_brings_its_order_unit_and_mode(table, save):
  names = tuple(row['joint'] for row in table['joints'])[::-1]
  needs = _NEEDS._replace(
    joint_names=names,
    control_hz=30.0,
    action_mode='increment',
    action_scale=(0.5,) * 14,
    proprio_dim=14,
  )
  source = open_images(save(table), needs)
  assert source.facts.joint_names == names
  assert source.facts.action_scale == (0.5,) * 14
  batch, plain = source.read(0), open_images(save(table)).read(0)
  np.testing.assert_array_equal(batch.proprio, plain.proprio[:, 13::-1])
  steps = np.cumsum(batch.chunk[0], axis=0) * 0.5
  scale = open_images(save(table)).facts.action_scale
  np.testing.assert_allclose(
    steps[:, ::-1], plain.chunk[0] * np.array(scale), atol=1e-5
  )


@pytest.mark.parametrize('compressed', [False, True])
def test_alohas_episodes_become_demonstrations(tmp_path, save, compressed):
  folder = tmp_path / 'aloha'
  folder.mkdir()
  columns = [aloha_files.episode(30, seed) for seed in range(2)]
  for number, episode in enumerate(columns):
    file = folder / f'episode_{number}.hdf5'
    aloha_files.write(file, episode, compressed=compressed)
  needs = _NEEDS._replace(cameras=('top', 'low'))
  table = aloha_files.mapping()
  source = opening.open_source(folder, needs, tokenize, mapping=save(table))
  batch = source.read(1)
  qpos, qvel = (columns[1][f'observations/{x}'] for x in ('qpos', 'qvel'))
  np.testing.assert_allclose(batch.proprio[:, 0], qpos[:, 0], rtol=1e-6)
  np.testing.assert_allclose(batch.proprio[:, 6], 0.04 * qpos[:, 6], rtol=1e-6)
  np.testing.assert_allclose(
    batch.proprio[:, 20], 0.04 * qvel[:, 6], rtol=1e-5, atol=1e-7
  )
  swapped = opening.open_source(
    folder, needs, tokenize, mapping=save(table | {'color_order': 'bgr'})
  ).read(1)
  for camera, image in batch.images.items():
    assert not image[:, :4].any() and image[:, 4].any()  # 12x16 has bars
    np.testing.assert_array_equal(swapped.images[camera], image[..., ::-1])


def test_our_own_files_go_through_the_same_door(tmp_path, demos, config):
  shards.write(tmp_path / 'a.npz', demos, np.arange(0, 20, 2))
  source = opening.open_source(tmp_path, config, tokenize, mapping='')
  assert source.facts.joint_names == demos.joint_names
  np.testing.assert_array_equal(
    source.read(0).proprio, demos.frames.proprio[0:10:2]
  )
  with pytest.raises(ValueError, match='--mapping is for datasets of other'):
    opening.open_source(tmp_path, config, tokenize, mapping='m.json')


def test_the_remaining_motion_may_be_a_column(table, save, copy):
  folder, key = copy(IMAGES), 'complementary_info.remaining_motion'
  motion = np.arange(75 * 6, dtype=np.float32).reshape(75, 6)
  files.add(folder, key, motion)
  mapping = save(table | {'remaining_motion': key, 'frame_stride': 2})
  source = opening.open_source(folder, _NEEDS, tokenize, mapping=mapping)
  np.testing.assert_array_equal(
    source.read(1, images=False).remaining_motion, motion[20:45:2]
  )
  with pytest.raises(ValueError, match='remaining_motion .* of 6 numbers'):
    open_images(save(table | {'remaining_motion': 'action'}))


def test_the_small_vla_names_what_it_lacks(table, save):
  frames = demo_source.load_all(open_images(save(table)))
  with pytest.raises(ValueError, match='Name its column in the mapping'):
    dataset.check(frames, None)


def _entry(table, index, **fields):
  joints = [dict(row) for row in table['joints']]
  joints[index] |= fields
  return {'joints': joints}


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda t: _entry(t, 0, state='left_wast.pos'),
     "'left_wast.pos'. are not. Did you mean 'left_waist.pos'"),
    (lambda t: {'joints': t['joints'][:13]},
     "'right_gripper.pos'. are neither. Add rows to joints"),
    (lambda t: {'unused': ['nothing']}, "unused must be .*'nothing'. are not"),
    (lambda t: {'action_key': 'actions'}, "action_key .*Did you mean 'action'"),
    (lambda t: {'velocities': 'next.reward'}, 'column of 14 numbers: .* has 1'),
    (lambda t: {'cameras': t['cameras'][:1]}, "'cam_left_wrist'. are missing"),
    (lambda t: {'cameras': [*t['cameras'][:2], {'camera': 'a', 'key': 'b'}]},
     "Camera 'a' must be a camera of"),
    (lambda t: {'cameras': [*t['cameras'][1:], t['cameras'][0]
                            | {'crop': [10, 0, 60]}]},
     'crop .* must lie in its picture of 64x64'),
    (lambda t: {'control_hz': 50.0}, '30 rows a second, .* 50: .*"linear"'),
    (lambda t: {'fps': 30.0}, 'fps of the mapping must be absent'),
    (lambda t: {'skip_episodes': [7]}, r'must be episodes .*: \[7\] are not'),
    (lambda t: {'skip_episodes': [0, 1, 2]}, 'must leave an episode'),
    (lambda t: _entry(t, 0, recorded='m', scale=3.0, state='left_elbow.pos',
                      action='left_waist.pos')
     | {'unused': ['left_waist.pos']}, 'must be distinct'),
    (lambda t: {'joints': [
      {'joint': r['joint'], 'state': r['state'], 'recorded': 'deg'}
      for r in t['joints']]}, "recorded in 'deg' must somewhere .* radians"),
  ],
)  # fmt: skip
def test_mappings_that_do_not_fit_are_refused(table, save, change, message):
  file = save(table | change(table))
  with pytest.raises(ValueError, match=message):
    open_images(file)


def test_actions_that_are_steps_are_refused(table, save, copy):
  folder = copy(IMAGES)
  files.change(
    folder, action=lambda rows: (0.1 * np.gradient(rows, axis=0)).tolist()
  )
  with pytest.raises(ValueError, match='the correlation of action and state'):
    opening.open_source(folder, _NEEDS, tokenize, mapping=save(table))


def test_vlas_that_do_not_fit_are_refused(table, save):
  mapping = save(table)
  names = tuple(row['joint'] for row in table['joints'])
  for changes, message in (
    ({'action_dim': 6}, 'as many as the VLA has, 6: 14'),
    ({'proprio_dim': 20}, '14 or 28 numbers: it reads 20'),
    ({'control_hz': 50.0}, 'must be that of the VLA, 50: 30. Write 50'),
    (
      {'joint_names': ('elbow', *names[1:])},
      "missing .'elbow'., unknown .'left",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      open_images(mapping, _NEEDS._replace(**changes))


def test_what_is_no_dataset_is_named(tmp_path, table, save):
  with pytest.raises(ValueError, match='no such path'):
    opening.open_recording(tmp_path / 'none')
  with pytest.raises(ValueError, match='.npz files .* LeRobot .* has none of'):
    opening.open_recording(tmp_path)
  with pytest.raises(ValueError, match='Did you mean .*dataset_v3'):
    opening.open_recording(IMAGES.parent)
  with pytest.raises(ValueError, match='needs a mapping .*--mapping=FILE'):
    open_images(None)
  aloha_files.write(tmp_path / 'a.hdf5', aloha_files.episode(20))
  with pytest.raises(
    ValueError, match='color_order of the mapping must be given'
  ):
    opening.open_source(
      tmp_path,
      _NEEDS,
      tokenize,
      mapping=save(aloha_files.mapping() | {'color_order': None}),
    )
  with pytest.raises(
    ValueError, match='instruction of the mapping must be giv'
  ):
    opening.open_source(
      tmp_path, _NEEDS._replace(cameras=('top',)), tokenize,
      mapping=save(aloha_files.mapping() | {'instruction': None}),
    )  # fmt: skip


def test_reading_needs_no_jax():
  code = (
    'import sys\n'
    'from rlt_jax.datasets import opening\n'
    f'opening.open_recording({str(IMAGES)!r}).read_vectors(0, ["action"])\n'
    'print(*{"jax", "torch", "mujoco", "av", "h5py"} & set(sys.modules))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], check=True, capture_output=True, text=True
  ).stdout
  assert not out.split()


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
  with pytest.raises(ImportError, match=r"pip install 'rlt_jax\[datasets\]'"):
    opening.open_recording(IMAGES)


def test_pictures_have_the_shapes_of_the_vlas_cameras(table, save):
  shapes = ((48, 64), (64, 64))
  needs = _NEEDS._replace(image_size=0, image_shapes=shapes)
  images = open_images(save(table), needs).read_rows(0, np.arange(2)).images
  found = tuple(images[camera].shape[1:3] for camera in needs.cameras)
  assert found == shapes
