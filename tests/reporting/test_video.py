import numpy as np
from PIL import Image
import pytest

from rlt_jax.reporting import video

_SIDE = 32
_CAMERAS = ('base', 'wrist')


def clip(steps, outcome='success', level=0, cameras=_CAMERAS):
  """A square moves one pixel to the right per step on a flat background."""
  images = np.full((steps, _SIDE, _SIDE, 3), 40 + level, np.uint8)
  for t in range(steps):
    images[t, 8:16, t % 24 : t % 24 + 8] = (250, 40, 40)
  return video.Clip({name: images for name in cameras}, outcome, steps)


def read(path):
  with Image.open(path) as gif:
    frames, durations = [], []
    for i in range(gif.n_frames):
      gif.seek(i)
      frames.append(np.asarray(gif.convert('RGB')).astype(int))
      durations.append(gif.info['duration'])
  return frames, durations


def test_film_runs_in_real_time_until_the_longer_clip_ends(tmp_path):
  path = tmp_path / 'film.gif'
  video.write_film(path, [clip(40, 'time_out')], [clip(12)], control_hz=50.0)
  frames, durations = read(path)
  # 10 frames of 80 ms for 40 steps of 20 ms, then the end is held 0.8 s.
  assert sum(durations) == 10 * 80 + 10 * 80
  width, height = 2 * 96 + 18, 2 * 22 + 2 * 102 + 6
  assert frames[0].shape == (height, width, 3)


def test_the_shorter_clip_holds_its_last_frame(tmp_path):
  path = tmp_path / 'film.gif'
  video.write_film(path, [clip(40, 'time_out')], [clip(12)], control_hz=50.0)
  frames, _ = read(path)
  left, right = (slice(6, 102), slice(108, 204))
  pictures = slice(50, None)
  changes = [
    [np.any(a[pictures, half] != b[pictures, half]) for half in (left, right)]
    for a, b in zip(frames[:9], frames[1:10], strict=True)
  ]
  assert [row[0] for row in changes] == [True] * 9
  assert [row[1] for row in changes] == [True] * 3 + [False] * 6


def test_images_are_enlarged_pixel_by_pixel(tmp_path):
  path = tmp_path / 'film.gif'
  video.write_film(path, [clip(8)], [clip(8, level=60)], control_hz=50.0)
  picture = read(path)[0][0][50:146, 6:102]
  expected = np.kron(
    clip(8).frames['base'][0], np.ones((3, 3, 1), int)
  )  # [96, 96, 3]
  np.testing.assert_allclose(picture, expected, atol=4)


def test_outcomes_are_green_or_red_after_the_end(tmp_path):
  path = tmp_path / 'film.gif'
  video.write_film(path, [clip(9, 'force_limit')], [clip(9)], control_hz=50.0)
  first, last = (read(path)[0][i][22:44].astype(int) for i in (0, -1))

  def green_minus_red(bar):
    return (bar[..., 1] - bar[..., 0]).reshape(-1)

  assert np.abs(green_minus_red(first)).max() < 20
  assert green_minus_red(last[:, :105]).min() < -60
  assert green_minus_red(last[:, 105:]).max() > 60


def test_several_pairs_stay_small(tmp_path):
  path = tmp_path / 'film.gif'
  video.write_film(path, [clip(60)] * 3, [clip(20)] * 3, control_hz=50.0)
  assert path.stat().st_size < 200_000


@pytest.mark.parametrize(
  'before, after, message',
  [
    ([], [], 'at least one: 0, 0'),
    ([clip(4)], [clip(4)] * 2, 'one clip after for each before.*1, 2'),
    ([clip(4)], [clip(4, cameras=('base',))], 'same cameras'),
    ([clip(4)], [clip(4)._replace(steps=5)], r'steps must be in 1..4.*5'),
    (
      [clip(4)],
      [clip(4)._replace(frames={n: np.zeros((4, 8, 8, 3)) for n in _CAMERAS})],
      'must be uint8',
    ),
  ],
)
def test_clips_that_do_not_match_are_refused(tmp_path, before, after, message):
  with pytest.raises(ValueError, match=message):
    video.write_film(tmp_path / 'film.gif', before, after, control_hz=50.0)


def _with_view(steps, side=3 * _SIDE, **changes):
  """A clip with a large picture whose level tells the step."""
  levels = np.uint8([40 + 2 * step for step in video.view_steps(steps)])
  view = np.broadcast_to(
    levels[:, None, None, None], (len(levels), side, side, 3)
  )
  return clip(steps, **changes)._replace(view=view)


def test_a_view_is_large_above_what_the_policy_sees(tmp_path):
  path = tmp_path / 'film.gif'
  pair = _with_view(10), _with_view(14, level=60)
  video.write_film(path, pair[:1], pair[1:], control_hz=50.0)
  frames, _ = read(path)
  side = 3 * _SIDE
  assert frames[0].shape == (2 * 22 + side + _SIDE + 3 * 6, 2 * side + 18, 3)
  # Steps 0, 4, 8 and the last ones, 9 and 13.
  for frame, (left, right) in zip(
    [*frames[:4], frames[-1]],
    [(0, 0), (4, 4), (8, 8), (9, 12), (9, 13)],
    strict=True,
  ):
    for x, step in ((20, left), (120, right)):
      assert abs(frame[60, x, 0] - (40 + 2 * step)) <= 4, step
  # Below it the first camera as it is, then the second, beside each other.
  insets = frames[0][2 * 22 + side + 12 : 2 * 22 + side + 12 + _SIDE, 6:102]
  for start in (0, _SIDE + 6):
    np.testing.assert_allclose(
      insets[:, start : start + _SIDE], clip(10).frames['base'][0], atol=6
    )


@pytest.mark.parametrize(
  'after, rule',
  [
    (clip(8), r'A view must be uint8 \(3, 96, 96, 3\): None'),
    (_with_view(8, side=64), r'\(3, 96, 96, 3\): \(3, 64, 64, 3\)'),
    (_with_view(8)._replace(steps=4), r'\(2, 96, 96, 3\): \(3, 96, 96, 3\)'),
  ],
)
def test_views_that_do_not_match_are_refused(tmp_path, after, rule):
  with pytest.raises(ValueError, match=rule):
    video.write_film(tmp_path / 'a', [_with_view(8)], [after], control_hz=50.0)


def test_a_view_below_its_cameras_is_refused(tmp_path):
  narrow = [_with_view(8, side=64)]
  with pytest.raises(ValueError, match='as wide as its cameras, 70: 64'):
    video.write_film(tmp_path / 'a', narrow, narrow, control_hz=50.0)


def test_a_full_disk_keeps_the_film_before(tmp_path, monkeypatch):
  path = tmp_path / 'film.gif'
  path.write_bytes(b'before')

  def fail(self, file, **_):
    if hasattr(file, 'write'):
      file.write(b'half')
    else:
      path.write_bytes(b'half')
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(Image.Image, 'save', fail)
  with pytest.raises(OSError, match='No space'):
    video.write_film(path, [clip(4)], [clip(4)], control_hz=50.0)
  assert path.read_bytes() == b'before'
  assert list(tmp_path.iterdir()) == [path]
