"""The verdict on hand-written ways of the tip, in mm; z points outward."""

import numpy as np
import pytest

from rlt_jax.tasks.ethernet import verdict
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion.verdict import TipPose

_CONFIG = EthernetConfig()
_IN = [(0, 0, 5), (0, 0, -1.5), (0, 0, -6), (0, 0, -11.5)]


def _judge(way, tilt_deg=0.0, config=_CONFIG):
  """Returns (entered, seated) after the last point of a way [T, 3] in mm."""
  way, entered = np.array(way, float) * 1e-3, False
  for before, now in zip(way[:-1], way[1:], strict=True):
    entered = verdict.enter(
      config, TipPose(before, np.eye(3)), TipPose(now, np.eye(3)), entered
    )
  cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
  tilted = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
  tip = TipPose(way[-1], tilted)
  return bool(entered), bool(verdict.seated(config, tip, entered))


def test_a_straight_way_in_is_success():
  assert _judge(_IN) == (True, True)
  assert _judge(_IN[:3]) == (True, False), 'not deep enough'
  assert _judge([_IN[0], _IN[-1]]) == (True, True), 'in one step'


@pytest.mark.parametrize(
  'way',
  [
    pytest.param(
      [(0, 0, 5), (30, 0, 5), (30, 0, -36), (0, 0, -36)], id='under'
    ),
    pytest.param(
      [(0, 0, 5), (30, 0, -36), (0, 0, -36), (0, 0, -20), (0, 0, -11.5)],
      id='from below',
    ),
    pytest.param(
      [(0, 0, 5), (30, 0, 0), (30, 0, -11.5), (0, 0, -11.5)], id='side wall'
    ),
    pytest.param([(12, 0, 0.5), (0, 0, -11.5)], id='wall, in one step'),
    pytest.param([(6, 0, 3), (4, 0, -3), (0, 0, -11.5)], id='over the edge'),
    pytest.param([(0, 0, 5), (0, 0, -1.5), (0, 0, -13.5)], id='too deep'),
    pytest.param([(0, 0, 5), (0, 0, 5), (0, 0, 5)], id='still'),
    pytest.param([(0, 0, -11.5), (0, 0, -11.5)], id='began inside'),
  ],
)
def test_no_other_way_is(way):
  assert _judge(way) == (False, False)


def test_a_tip_that_has_left_must_come_through_the_mouth_again():
  out = [*_IN, (0, 0, 0.5)]
  assert _judge(out) == (False, False)
  assert _judge([*out, *_IN[1:]]) == (True, True)
  assert _judge([*_IN, (0, 0, -20), (0, 0, -11.5)]) == (False, False)


def test_a_tip_that_slides_over_the_face_into_the_mouth_enters():
  # Rammed against the face it sinks in, but not as deep as the entry depth.
  way = [(4, 0, 1), (4, 0, -0.7), (1.6, 0, -0.7), (0.9, 0, -1.6), *_IN[2:]]
  assert _judge(way) == (True, True)


def test_offset_and_tilt_are_limited():
  side = _CONFIG.clearance_mm + _CONFIG.lateral_slack_mm
  assert _judge([*_IN, (side - 0.01, 0, -11.5)])[1]
  assert not _judge([*_IN, (side + 0.01, 0, -11.5)])[1]
  assert not _judge([*_IN, (0, -side - 0.01, -11.5)])[1]
  assert _judge(_IN, tilt_deg=4.9)[1]
  assert not _judge(_IN, tilt_deg=5.1)[1]


def test_a_way_that_is_not_finite_is_not_inside():
  assert _judge([*_IN, (np.nan, 0, -11.5)]) == (False, False)


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'solver_iterations': 0}, 'solver_iterations must be at least 1: 0'),
    (
      {'contact_time_constant': 0.007},
      'contact_time_constant must be at least two timesteps, 0.008 s: 0.007',
    ),
    ({'deepest_mm': 11.0}, 'deepest_mm must be above seated_mm, 11.0: 11.0'),
  ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    EthernetConfig(**wrong)
