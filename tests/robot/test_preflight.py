"""The preflight's findings on fakes."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from rlt_jax.robot import findings as findings_lib
from rlt_jax.robot import preflight
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.faults import CameraFault, Fault
from rlt_jax.robot.clock import MonotonicClock
from rlt_jax.robot.findings import BAD, Finding, NOTE, OK
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.serving import schema
from rlt_jax.serving.client import VlaClient
from rlt_jax.serving.server import PolicyServer
from tests.robot.conftest import make_layers, make_spec
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import ARM, BUNDLE, PERIOD, Vla, WIRE
from tests.robot.test_runtime import infer as answer


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


def test_a_chunk_that_would_be_too_old_at_its_end_is_named():
  arm = dataclasses.replace(ARM, max_action_age_s=0.5)
  slow = make_spec(**(vars(BUNDLE) | {'control_hz': 30.0}))
  found = by_name(preflight.check_files(slow, arm, 30.0))['max_action_age_s']
  # The VLA runs 20 steps of a chunk.
  assert found.verdict == BAD and 'is at least 0.67 s old' in found.found
  fast = by_name(preflight.check_files(BUNDLE, arm, 50.0))['max_action_age_s']
  assert fast.verdict == OK


def test_a_bundle_for_this_arm_passes():
  assert not bad(preflight.check_files(BUNDLE, ARM, 50.0))


@pytest.mark.parametrize(
  'change, what',
  [
    ({'joint_names': ('b', 'a', 'grip')}, 'joint_names'),
    ({'joint_units': ('rad', 'm', 'm')}, 'joint_units'),
    ({'joint_low': (-2.0, -1.0, 0.0)}, 'joint_low'),
    ({'joint_high': (1.0, 1.0, 0.02)}, 'joint_high'),
    ({'control_hz': 25.0}, 'control_hz'),
    ({'proprio_names': BUNDLE.proprio_names[::-1]}, 'proprio_names'),
  ],
)
def test_a_bundle_for_another_arm_is_named(change, what):
  spec = make_spec(**(vars(BUNDLE) | change))
  assert bad(preflight.check_files(spec, ARM, 50.0)) == {what}


def test_shorter_commands_than_in_practice_are_noted():
  spec = make_spec(**(vars(BUNDLE) | {'reach': (0.2, 0.1, 0.01)}))
  found = by_name(preflight.check_files(spec, ARM, 50.0))
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
  'frames_per_s, verdict', [(30.0, OK), (18.0, NOTE), (4.0, BAD)]
)
def test_cameras_that_are_too_slow_to_answer_every_query_are_named(
  clock, frames_per_s, verdict
):
  cameras = FakeCameras(
    ('wrist',), clock=clock, size=8, frames_per_s=frames_per_s
  )
  findings = preflight.check_cameras(
    BUNDLE, cameras, WIRE, max_age_s=0.3, clock=clock
  )
  assert by_name(findings)['picture pace'].verdict == verdict


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
  text = 'no answer in 120 s: nothing listens there'
  assert finding == Finding('VLA', text, BAD)


def test_a_first_answer_after_half_a_minute_is_waited_for():
  """A real server and client: the first query is given up and asked again."""
  first = threading.Event()

  def infer(message):
    if not first.is_set():
      first.set()
      time.sleep(1.2)
    return answer(message)

  clock = MonotonicClock()
  with PolicyServer(infer, WIRE.metadata(), port=0) as server:
    with VlaClient(
      f'ws://127.0.0.1:{server.port}',
      parse=lambda message: schema.read_reply(WIRE, message),
      reply_timeout_s=0.3,
    ) as client:
      client.wait_ready(10.0)
      findings = preflight.check_vla(client, WIRE, BUNDLE, clock, timeout_s=60)
  found = by_name(findings)
  assert 'VLA answers' in found, findings
  assert found['VLA, first answer'].verdict == NOTE


class SlowCameras(FakeCameras):
  """Waits for its picture, as cv2.VideoCapture.read does."""

  def __init__(self, clock, seconds):
    super().__init__(('wrist',), clock=clock, size=8)
    self._wait_s = seconds

  def observe(self):
    self._clock.sleep_until(self._clock.now() + self._wait_s)
    return super().observe()


@pytest.mark.parametrize(
  'seconds, verdict', [(0.001, OK), (0.03, NOTE), (0.1, BAD)]
)
def test_cameras_that_wait_for_their_picture_are_timed(clock, seconds, verdict):
  found = by_name(
    preflight.check_cameras(
      BUNDLE, SlowCameras(clock, seconds), WIRE, max_age_s=0.5, clock=clock
    )
  )
  assert found['pictures'].verdict == verdict
  text = f'taken in {1e3 * seconds:.0f} ms'
  assert found['pictures'].found.startswith(text)
  assert 'every 40 ms' in found['pictures'].found


def test_the_host_is_checked(tmp_path):
  spec = make_spec(run={'versions': {'numpy': '0.1'}, 'created': 'then'})
  found = by_name(preflight.check_host(spec, tmp_path, 'none'))
  assert found['priority'].verdict == NOTE
  given = by_name(preflight.check_host(spec, tmp_path, 'SCHED_FIFO 10'))
  assert given['priority'].verdict == OK
  assert found['numpy'].verdict == NOTE
  assert 'of the bundle 0.1' in found['numpy'].found
  assert 'then' in found['bundle'].found


def test_a_host_without_the_reports_packages_is_told(tmp_path, monkeypatch):
  assert by_name(preflight.check_host(BUNDLE, tmp_path, 'none'))[
    'report'
  ] == Finding('report', 'can be made', OK)
  monkeypatch.setattr(preflight.importlib.util, 'find_spec', lambda name: None)
  found = by_name(preflight.check_host(BUNDLE, tmp_path, 'none'))['report']
  assert found.verdict == NOTE and 'scipy, matplotlib, PIL' in found.found


def test_the_verdict_is_a_sentence():
  good, note = Finding('a', 'x', OK), Finding('b', 'y', NOTE)
  assert findings_lib.verdict([good]) == 'This station may run.'
  assert '1 to look at' in findings_lib.verdict([good, note])
  words = findings_lib.verdict([good, Finding('pose', 'outside', BAD)])
  assert words == 'This station must not run: pose: outside'
  assert findings_lib.lines([good, note])[1].startswith('note  b')


def test_a_delay_needs_actions_from_the_measured_pose():
  with pytest.raises(ValueError, match='0 with actions of mode increment: 2'):
    make_spec(action_mode='increment', inference_delay=2)
  assert make_spec(action_mode='increment').inference_delay == 0
