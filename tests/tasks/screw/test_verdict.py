"""Verdict and motor on hand-written ways of the bit; z points outward."""

import numpy as np
import pytest

from rlt_jax.tasks.insertion.verdict import TipPose
from rlt_jax.tasks.screw import turning, verdict
from rlt_jax.tasks.screw.config import ScrewConfig

_CONFIG = ScrewConfig()
_IN = [(0, 0, 3), (0, 0, -1.5), (0, 0, -2.5)]
_DRIVE = turning.DRIVE


def _pose(point, yaw_deg=0.0, tilt_deg=0.0):
  yaw, tilt = np.deg2rad(yaw_deg), np.deg2rad(tilt_deg)
  cos, sin = np.cos(yaw), np.sin(yaw)
  about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
  cos, sin = np.cos(tilt), np.sin(tilt)
  about_y = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
  return TipPose(np.array(point, float) * 1e-3, about_y @ about_z)


def _drive(pushes, point=(0, 0, -2.5), way=_IN, config=_CONFIG, **turn):
  """Returns (driven, success) after a way in mm and then pushes in N."""
  entered, poses = verdict.RULES.start, [_pose(x, **turn) for x in way]
  for before, now in zip(poses[:-1], poses[1:], strict=True):
    entered = verdict.enter(config, before, now, entered)
  driven, last = _DRIVE.start, poses[-1]
  for push in pushes:
    now = _pose(point, **turn)
    entered = verdict.enter(config, last, now, entered)
    driven, last = _DRIVE.advance(config, now, entered, push, driven), now
  seated = verdict.seated(config, last, entered)
  return driven, bool(seated & _DRIVE.done(config, driven))


def test_four_turns_take_eighty_steps_and_are_success():
  assert _CONFIG.seated_steps == 80
  driven, success = _drive([3.0] * 79)
  assert (int(driven.steps), success) == (79, False)
  driven, success = _drive([3.0] * 80)
  assert (int(driven.steps), success) == (80, True)
  np.testing.assert_allclose(_DRIVE.sunk(_CONFIG, driven), 2.8e-3, rtol=1e-6)
  np.testing.assert_allclose(_DRIVE.travel(_CONFIG), 2.8e-3, rtol=1e-6)
  # A seated screw turns no further, and a bit that leaves it loses nothing.
  driven, success = _drive([3.0] * 90 + [0.0])
  assert (int(driven.steps), int(driven.cam_outs), success) == (80, 0, True)


@pytest.mark.parametrize(
  'turn, turns',
  [
    ({'yaw_deg': 8}, True),
    ({'yaw_deg': -8}, True),
    ({'yaw_deg': 12}, False),
    ({'yaw_deg': 45}, False),
    ({'yaw_deg': 82}, True),
    ({'yaw_deg': 90}, True),
    ({'yaw_deg': 188}, True),
    ({'yaw_deg': -90}, True),
    ({'tilt_deg': 7}, True),
    ({'tilt_deg': 9}, False),
    ({'tilt_deg': 180}, False),
  ],
)
def test_a_square_bit_turns_the_screw_in_four_positions(turn, turns):
  assert (_drive([5.0], **turn)[0].steps == 1) == turns


@pytest.mark.parametrize(
  'way, point',
  [
    pytest.param([(0, 0, 3), (0, 0, -1.1)], (0, 0, -1.1), id='not deep'),
    pytest.param(
      [(0, 0, 3), (8, 0, 3), (8, 0, -2), (0, 0, -2)], (0, 0, -2), id='the side'
    ),
    pytest.param(
      [(0, 0, 3), (8, 0, -9), (0, 0, -9), (0, 0, -2)], (0, 0, -2), id='below'
    ),
    pytest.param([(0, 0, 3), (0, 0, -4)], (0, 0, -4), id='through the floor'),
    pytest.param([(1, 0, 3), (1, 0, -2)], (1, 0, -2), id='beside'),
    pytest.param([(0, 0, -2), (0, 0, -2)], (0, 0, -2), id='began inside'),
  ],
)
def test_a_bit_that_did_not_come_in_turns_nothing(way, point):
  driven, success = _drive([5.0] * 100, way=way, point=point)
  assert (int(driven.steps), success) == (0, False)


def test_the_motor_starts_with_more_push_than_it_goes_on_with():
  assert _drive([1.9] * 5)[0].steps == 0
  assert _drive([2.1] + [0.6] * 4)[0].steps == 5
  driven, _ = _drive([2.1, 2.1, 0.4, 1.9, 1.9, 2.1])
  assert (int(driven.steps), int(driven.cam_outs)) == (3, 1)
  assert not _DRIVE.failed(_CONFIG, driven)


def test_cam_outs_above_the_limit_ruin_the_recess():
  once = [3.0, 0.0]
  kept, _ = _drive(once * _CONFIG.cam_out_limit)
  assert not _DRIVE.failed(_CONFIG, kept)
  lost, _ = _drive(once * (_CONFIG.cam_out_limit + 1))
  assert _DRIVE.failed(_CONFIG, lost)


def test_settings_of_the_motor_are_checked():
  with pytest.raises(ValueError, match=r'\[0, engage_push_n\], 2.0: 3.0'):
    ScrewConfig(hold_push_n=3.0)
  with pytest.raises(ValueError, match='motor_rpm must be positive: 0.0'):
    ScrewConfig(motor_rpm=0.0)
