"""The verdict on hand-written ways of the strap; z points outward."""

import numpy as np
import pytest

from rlt_jax.tasks.zip_tie import verdict
from rlt_jax.tasks.zip_tie.config import ZipTieConfig
from rlt_jax.tasks.zip_tie.scene import SEGMENTS
from rlt_jax.tasks.zip_tie.strap import ALIGNED, StrapPose

_CONFIG = ZipTieConfig()
_IN = [(0, 0, 5), (0, 0, -1.5), (0, 0, -8), (0, 0, -12), (0, 0, -20.5)]


def _strap(tip, *, turn_deg=0.0, tilt_deg=0.0, bends_deg=(0.0, 0.0)):
  """Returns a strap with its tip at a point in mm."""
  turn, tilt = np.deg2rad(turn_deg), np.deg2rad(tilt_deg)
  cos, sin = np.cos(turn), np.sin(turn)
  about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
  cos, sin = np.cos(tilt), np.sin(tilt)
  about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
  mat = about_y @ about_z @ ALIGNED
  angles = np.cumsum([0.0, *np.deg2rad(bends_deg)])
  points = [np.zeros(3)]
  for angle, length in zip(angles, SEGMENTS, strict=True):
    along = np.sin(angle) * mat[:, 0] + np.cos(angle) * mat[:, 2]
    points.append(points[-1] - length * along)
  shift = np.array(tip, float) * 1e-3 - points[-1]
  return StrapPose(np.stack(points) + shift, mat, np.deg2rad(bends_deg))


def _judge(way, config=_CONFIG, **shape):
  """Returns (entered, caught mm, tight) after the last point of a way in mm."""
  entered, caught = np.bool_(False), 0.0
  straps = [_strap(point, **shape) for point in way]
  for before, now in zip(straps[:-1], straps[1:], strict=True):
    entered = verdict.enter(config, before, now, entered)
    caught = verdict.catch(config, now, entered, caught)
  tight = verdict.tight(config, straps[-1], entered)
  return bool(entered), round(float(caught) * 1e3, 6), bool(tight)


def test_a_straight_way_through_is_success():
  assert _judge(_IN) == (True, 20.0, True)
  assert _judge(_IN[:4]) == (True, 12.0, False), 'not tight'
  assert _judge(_IN[:3]) == (True, 0.0, False), 'not threaded'
  assert _judge([_IN[0], _IN[-1]]) == (True, 20.0, True), 'in one step'


@pytest.mark.parametrize(
  'way',
  [
    pytest.param(
      [(0, 0, 5), (12, 0, 5), (12, 0, -20.5), (0, 0, -20.5)], id='around'
    ),
    pytest.param(
      [(0, 0, 5), (12, 0, -40), (0, 0, -40), (0, 0, -20.5)], id='from below'
    ),
    pytest.param(
      [(0, 0, 5), (6, 0, 0), (6, 0, -6), (0, 0, -6), (0, 0, -20.5)],
      id='through a wall',
    ),
    pytest.param([(0, 0, 5), (0, 6, -20.5)], id='beside'),
    pytest.param([*_IN, (0, 0, -23.5)], id='too deep'),
    pytest.param([(0, 0, -20.5), (0, 0, -20.5)], id='began inside'),
  ],
)
def test_no_other_way_is(way):
  entered, _, tight = _judge(way)
  assert not entered and not tight


def test_the_teeth_face_the_pawl():
  assert _judge(_IN, turn_deg=10)[2]
  assert _judge(_IN, turn_deg=180) == (False, 0.0, False)
  assert _judge(_IN, turn_deg=90) == (False, 0.0, False)


def test_a_strap_that_leaves_the_slot_sideways_is_not_in_it():
  # It is tilted so that its tip is in the middle, but not its way there.
  assert _judge(_IN, tilt_deg=12) == (False, 0.0, False)
  assert not _judge(_IN, bends_deg=(0.0, 25.0))[2]


def test_the_pawl_holds_whole_teeth_and_never_lets_back():
  way = [*_IN[:3], (0, 0, -13.7), (0, 0, -13.2), (0, 0, -12.4)]
  assert _judge(way) == (True, 13.0, False)
  coarse = ZipTieConfig(tooth_mm=2.0)
  assert _judge(way, coarse)[1] == 12.0


def test_the_bends_add_up():
  for bends, buckled in (
    ((15.0, 0.0), False),
    ((15.0, -8.0), True),
    ((0.0, 21.0), True),
  ):
    strap = _strap((0, 0, 0), bends_deg=bends)
    assert verdict.buckled(_CONFIG, strap) == buckled


def test_levels_and_depths_are_checked():
  assert ZipTieConfig(clearance_mm=0.1).name == 'zip_tie-0.10mm'
  with pytest.raises(ValueError, match=r'one of \(0.3, 0.2, .*: 0.25'):
    ZipTieConfig(clearance_mm=0.25)
  with pytest.raises(ValueError, match='must rise: 10.0, 9.0, 23.0'):
    ZipTieConfig(tight_mm=9.0)
  with pytest.raises(ValueError, match='tooth_mm must be positive: 0.0'):
    ZipTieConfig(tooth_mm=0.0)
