"""The verdict on hand-written ways of the plug; z points outward."""

import numpy as np
import pytest

from rlt_jax.tasks.charger import verdict
from rlt_jax.tasks.charger.config import ChargerConfig
from rlt_jax.tasks.insertion.verdict import TipPose

_CONFIG = ChargerConfig()
_IN = [(0, 0, 5), (0, 0, -1.5), (0, 0, -8), (0, 0, -13.5)]


def _pose(point, yaw_deg=0.0, tilt_deg=0.0):
  """Returns a pose; the plug in the hand is turned by 90 degrees."""
  yaw, tilt = np.deg2rad(90.0 + yaw_deg), np.deg2rad(tilt_deg)
  cos, sin = np.cos(yaw), np.sin(yaw)
  about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
  cos, sin = np.cos(tilt), np.sin(tilt)
  about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
  return TipPose(np.array(point, float) * 1e-3, about_y @ about_z)


def _judge(way, config=_CONFIG, **turn):
  """Returns (entered [2], seated) after the last point of a way in mm."""
  entered = verdict.RULES.start
  poses = [_pose(point, **turn) for point in way]
  for before, now in zip(poses[:-1], poses[1:], strict=True):
    entered = verdict.enter(config, before, now, entered)
  return entered.tolist(), bool(verdict.seated(config, poses[-1], entered))


def test_a_straight_way_in_is_success():
  assert _judge(_IN) == ([True, True], True)
  assert _judge(_IN[:3]) == ([True, True], False), 'not deep enough'
  assert _judge([_IN[0], _IN[-1]]) == ([True, True], True), 'in one step'


@pytest.mark.parametrize(
  'way',
  [
    pytest.param(
      [(0, 0, 5), (45, 0, 5), (45, 0, -40), (0, 0, -40)], id='under'
    ),
    pytest.param(
      [(0, 0, 5), (45, 0, -40), (0, 0, -40), (0, 0, -13.5)], id='from below'
    ),
    pytest.param(
      [(0, 0, 5), (45, 0, 0), (45, 0, -13.5), (0, 0, -13.5)], id='side wall'
    ),
    pytest.param([(0, 0, 5), (0, 0, -1.5), (0, 0, -15.5)], id='too deep'),
    pytest.param([(0, 0, -13.5), (0, 0, -13.5)], id='began inside'),
  ],
)
def test_no_other_way_is(way):
  assert _judge(way) == ([False, False], False)


@pytest.mark.parametrize('side', [1, -1])
def test_a_prong_in_the_other_ones_slot_does_not_count(side):
  way = [(x, y + side * 12.7, z) for x, y, z in _IN]
  assert _judge(way) == ([False, False], False)


def test_one_prong_alone_is_no_success():
  # Leaning by 20 degrees about x, one prong is in and the other one is not.
  lean = np.deg2rad(20.0)
  cos, sin = np.cos(lean), np.sin(lean)
  about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
  poses = [_pose(point) for point in _IN[:3]]
  poses = [TipPose(x.pos, about_x @ x.mat) for x in poses[:2]]
  entered = verdict.enter(_CONFIG, *poses, verdict.RULES.start)
  assert sorted(entered.tolist()) == [False, True]
  deep = TipPose(_pose(_IN[-1]).pos, poses[1].mat)
  assert not verdict.seated(_CONFIG, deep, entered)


@pytest.mark.parametrize(
  'turn, success',
  [
    ({'yaw_deg': 4}, True),
    ({'yaw_deg': 12}, False),
    ({'yaw_deg': 180}, False),
    ({'tilt_deg': 4}, True),
    ({'tilt_deg': 6}, False),
  ],
)
def test_the_angles_count(turn, success):
  assert _judge(_IN, **turn)[1] == success


def test_lateral_limits_follow_the_clearance():
  beside = [(0.9, 0, z) for _, _, z in _IN]
  assert _judge(beside)[1]
  assert not _judge(beside, ChargerConfig(clearance_mm=0.1))[1]
