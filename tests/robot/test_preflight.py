"""The preflight's findings on fakes."""

import numpy as np
import pytest

from rlt_jax.robot import preflight
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.faults import CameraFault, Fault
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.preflight import BAD, Finding, NOTE, OK
from tests.robot.conftest import make_layers, make_spec
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import ARM, BUNDLE, PERIOD, Vla, WIRE


@pytest.fixture
def clock():
  return FakeClock()


def make_arm(clock, *faults, **changes):
  arm = FakeArm(ARM, clock=clock, faults=faults, **changes)
  arm.connect()
  return arm


def bad(findings):
  return {x.what for x in findings if x.verdict == BAD}


def by_name(findings):
  return {x.what: x for x in findings}


def test_a_bundle_for_this_arm_passes():
  assert not bad(preflight.check_files(BUNDLE, ARM))


@pytest.mark.parametrize(
  'change, what',
  [
    ({'joint_names': ('b', 'a', 'grip')}, 'joint_names'),
    ({'joint_units': ('rad', 'm', 'm')}, 'joint_units'),
    ({'joint_low': (-2.0, -1.0, 0.0)}, 'joint_low'),
    ({'joint_high': (1.0, 1.0, 0.02)}, 'joint_high'),
  ],
)
def test_a_bundle_for_another_arm_is_named(change, what):
  spec = make_spec(**(vars(BUNDLE) | change))
  assert bad(preflight.check_files(spec, ARM)) == {what}


def test_shorter_commands_than_in_practice_are_noted():
  spec = make_spec(**(vars(BUNDLE) | {'reach': (0.2, 0.1, 0.01)}))
  found = by_name(preflight.check_files(spec, ARM))
  assert (
    found['max_step'].verdict == NOTE and "['a']" in found['max_step'].found
  )


def look_through(clock, *faults, names=('wrist',), spec=BUNDLE):
  cameras = FakeCameras(names, clock=clock, size=8, faults=faults)
  return preflight.check_cameras(
    spec, cameras, WIRE, max_age_s=0.1, clock=clock
  )


def test_good_cameras_pass(clock):
  findings = look_through(clock)
  assert not bad(findings)
  assert 'brightness wrist' in by_name(findings)


@pytest.mark.parametrize(
  'kind, what',
  [('dark', 'brightness wrist'), ('stale', 'picture age')],
)
def test_a_bad_camera_is_named(clock, kind, what):
  fault = CameraFault(camera='wrist', kind=kind, at_s=0.0, seconds=60.0)
  assert what in bad(look_through(clock, fault))


def test_cameras_in_another_order_are_refused(clock):
  spec = make_spec(**(vars(BUNDLE) | {'cameras': ('base', 'wrist')}))
  assert 'cameras' in bad(look_through(clock, names=('wrist', 'base'),
                                       spec=spec))  # fmt: skip


def test_the_arm_is_read_and_nothing_moves(clock):
  arm = make_arm(clock)
  policy = NumpyPolicy(BUNDLE, make_layers(BUNDLE))
  findings = preflight.check_arm(arm, clock)
  findings += preflight.check_timing(arm, policy, clock, period_s=PERIOD)
  assert not bad(findings)
  assert [name for _, name in arm.events] == ['connect']
  text = by_name(findings)['dry loop, lateness'].found
  assert text.startswith('p50 0.0')


def test_a_joint_outside_its_limits_is_named(clock):
  arm = make_arm(clock, start=(0.0, 1.5, 0.01))
  (pose, _) = preflight.check_arm(arm, clock)
  assert pose.verdict == BAD and 'b at 1.5' in pose.found


def test_an_arm_that_does_not_answer_is_said(clock):
  arm = make_arm(clock, Fault(kind='lost', at_s=0.0, calls=1))
  (finding,) = preflight.check_arm(arm, clock)
  assert finding.verdict == BAD and 'was lost' in finding.found


@pytest.mark.parametrize(
  'delay, verdict', [(0.01, OK), (0.05, NOTE), (0.2, BAD)]
)
def test_a_vla_that_is_slower_than_a_chunk_is_refused(clock, delay, verdict):
  vla = Vla(clock)
  vla.delay = delay
  bundle = make_spec(**(vars(BUNDLE) | {'inference_delay': 2}))  # 40 ms
  findings = preflight.check_vla(vla, WIRE, bundle, clock)
  assert by_name(findings)['VLA answers'].verdict == verdict
  assert np.all(vla.requests[0]['images/wrist'] == 0)


def test_a_vla_that_does_not_answer_is_said(clock):
  vla = Vla(clock)
  vla.lost = 'nothing listens there'
  (finding,) = preflight.check_vla(vla, WIRE, BUNDLE, clock)
  assert finding == Finding('VLA', 'nothing listens there', BAD)


def test_the_host_is_checked(tmp_path):
  spec = make_spec(run={'versions': {'numpy': '0.1'}, 'created': 'then'})
  found = by_name(preflight.check_host(spec, tmp_path, 'none'))
  assert found['priority'].verdict == NOTE
  given = by_name(preflight.check_host(spec, tmp_path, 'SCHED_FIFO 10'))
  assert given['priority'].verdict == OK
  assert found['numpy'].verdict == NOTE
  assert 'of the bundle 0.1' in found['numpy'].found
  assert 'then' in found['bundle'].found


def test_the_verdict_is_a_sentence():
  good, note = Finding('a', 'x', OK), Finding('b', 'y', NOTE)
  assert preflight.verdict([good]) == 'This station may run.'
  assert '1 to look at' in preflight.verdict([good, note])
  words = preflight.verdict([good, Finding('pose', 'outside', BAD)])
  assert words == 'This station must not run: pose: outside'
  assert preflight.lines([good, note])[1].startswith('note  b')
