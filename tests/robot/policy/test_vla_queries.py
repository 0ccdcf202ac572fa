"""Queries of the VLA with camera pictures, and their retries."""

import threading

import numpy as np
import pytest

from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.faults import CameraFault
from rlt_jax.robot.daemon_executor import DaemonExecutor
from rlt_jax.robot.policy import vla_queries
from rlt_jax.robot.policy.vla_queries import PictureLimits, VlaQueries, VlaQuery
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import InlineExecutor, Vla, WIRE

_LIMITS = PictureLimits(max_age_s=0.1, max_offset_s=0.02, frozen_timeout_s=0.3)


class _Setup:
  def __init__(self, faults=()):
    self.clock = FakeClock()
    self.vla = Vla(self.clock)
    self.queries = VlaQueries(
      FakeCameras(('wrist',), clock=self.clock, size=8, faults=faults),
      self.vla,
      WIRE,
      prompt='insert',
      clock=self.clock,
      executor=InlineExecutor(),
      limits=_LIMITS,
    )

  def query(self, stamp):
    now = self.clock.now()
    self.queries.query(
      VlaQuery(stamp, now, now, np.zeros(3), np.zeros(6, np.float32), 0)
    )

  def wait(self, seconds):
    self.clock.time += seconds


def test_an_answer_is_returned_once_with_its_query():
  setup = _Setup()
  setup.query('a')
  assert setup.queries.newest() is None
  setup.wait(0.05)
  answer = setup.queries.newest()
  assert answer.stamp.stamp == 'a'
  # The picture is older than the reading of the joints.
  assert answer.stamp.obs_time <= answer.stamp.query_time
  assert setup.queries.newest() is None


def test_only_stamped_queries_are_kept_until_they_are_discarded():
  setup = _Setup()
  for stamp in ('a', None, ('b', 1)):
    setup.query(stamp)
  assert setup.queries.has_pending('a')
  assert setup.queries.has_pending(('b', 1))
  assert not setup.queries.has_pending(None)
  setup.queries.discard('a')
  setup.queries.discard('a')  # harmless
  assert not setup.queries.has_pending('a')


def test_pending_queries_are_retried_with_their_own_pictures():
  setup = _Setup()
  setup.vla.lost = 'no network'
  setup.query('a')
  setup.wait(0.5)
  setup.query('b')
  first, second = setup.vla.requests
  setup.vla.lost = ''
  answers = list(setup.queries.retry(['a', 'b'], timeout_s=1.0))
  assert [query.stamp for query, _ in answers] == ['a', 'b']
  assert setup.vla.requests[2] is first and setup.vla.requests[3] is second


def test_a_retry_ends_with_its_timeout_and_keeps_the_query():
  setup = _Setup()
  setup.query('a')
  setup.vla.lost = 'no network'
  start = setup.clock.now()
  assert not list(setup.queries.retry(['a'], timeout_s=2.0))
  assert setup.clock.now() - start == pytest.approx(2.0, abs=0.1)
  assert setup.queries.has_pending('a')
  assert 'no network' in setup.queries.cause()


@pytest.mark.parametrize(
  'kind, message',
  [('stale', 'at most 0.1 s old'), ('frozen', 'a new picture within 0.3 s')],
)
def test_old_pictures_are_not_sent(kind, message):
  setup = _Setup([CameraFault(camera='wrist', kind=kind, at_s=0.0, seconds=9)])
  setup.query('a')
  sent = len(setup.vla.requests)
  setup.wait(0.4)
  setup.query('b')
  assert message in setup.queries.blind and setup.queries.cause()
  assert len(setup.vla.requests) == sent
  assert not setup.queries.has_pending('b')


def test_the_cameras_must_be_the_servers():
  clock = FakeClock()
  with pytest.raises(ValueError, match="must be the server's"):
    VlaQueries(
      FakeCameras(('base',), clock=clock, size=8),
      Vla(clock),
      WIRE,
      prompt='insert',
      clock=clock,
      executor=InlineExecutor(),
      limits=_LIMITS,
    )


class _SlowCameras:
  """Cameras that take pictures when `go` is set, of that moment."""

  shapes = {'wrist': (8, 8, 3)}

  def __init__(self):
    self.go, self.asked = threading.Semaphore(0), threading.Semaphore(0)
    self.count = 0

  def observe(self):
    self.asked.release()
    assert self.go.acquire(timeout=20.0)
    self.count += 1
    return {'wrist': np.full((8, 8, 3), self.count, np.uint8)}

  def age_s(self):
    return 0.0


@pytest.fixture
def slow():
  setup, cameras = _Setup(), _SlowCameras()
  with DaemonExecutor('cameras') as executor:
    setup.queries = VlaQueries(
      cameras,
      setup.vla,
      WIRE,
      prompt='insert',
      clock=setup.clock,
      executor=executor,
      limits=_LIMITS,
    )
    setup.cameras = cameras
    setup.settle = lambda: executor.submit(int).result(20.0)
    yield setup
    for _ in range(9):
      cameras.go.release()


def test_one_query_waits_for_slow_cameras_and_it_is_the_newest(slow):
  slow.query('first')
  assert slow.cameras.asked.acquire(timeout=20.0)
  for stamp in range(5):
    slow.query(stamp)
  for _ in range(2):
    slow.cameras.go.release()
  slow.settle()
  assert [x.stamp for x in slow.vla.queries] == ['first', 4]
  assert slow.cameras.count == 2


@pytest.mark.parametrize('late_s, answered', [(0.015, True), (0.03, False)])
def test_a_picture_of_another_moment_answers_no_query(slow, late_s, answered):
  slow.query('a')
  assert slow.cameras.asked.acquire(timeout=20.0)
  slow.wait(late_s)
  slow.cameras.go.release()
  slow.settle()
  assert len(slow.vla.requests) == answered
  assert slow.queries.has_pending('a') == answered
  assert slow.queries.blind == ''
  assert ('within 0.02 s of their query' in slow.queries.cause()) != answered


class _Frames:
  """A camera whose frames come at given times, s."""

  shapes = {'wrist': (8, 8, 3)}

  def __init__(self, clock, times):
    self._clock, self._times = clock, times

  def observe(self):
    number = sum(x <= self._clock.now() for x in self._times)
    self._taken = self._times[number - 1]
    return {'wrist': np.full((8, 8, 3), number, np.uint8)}

  def age_s(self):
    return self._clock.now() - self._taken


@pytest.mark.parametrize(
  'early_s, next_s, number',
  [
    (0.015, 0.002, 1),
    (0.021, 0.012, 2),  # too early, so the next one is waited for
    (0.021, 0.5, None),  # none comes while one may answer
  ],
)
def test_a_picture_of_long_before_answers_no_query(early_s, next_s, number):
  setup = _Setup()
  now = setup.clock.now()
  setup.queries = VlaQueries(
    _Frames(setup.clock, [now - early_s, now + next_s]),
    setup.vla,
    WIRE,
    prompt='insert',
    clock=setup.clock,
    executor=InlineExecutor(),
    limits=_LIMITS,
  )
  setup.query('a')
  shown = [int(x['images/wrist'][0, 0, 0]) for x in setup.vla.requests]
  assert shown == ([] if number is None else [number])
  assert setup.queries.blind == ''
  assert ('0.021 s before it' in setup.queries.cause()) == (number is None)
  # The loop must not wait for a frame for longer than it could be used.
  assert setup.clock.now() <= now + 0.025


def test_a_camera_that_hangs_is_named(slow):
  slow.query('a')
  assert slow.cameras.asked.acquire(timeout=20.0)
  assert slow.queries.blind == ''
  slow.wait(3.0)
  assert 'one of wrist has given none for 3.0 s' in slow.queries.blind
  with slow.queries.only_retries(20.0):
    pass  # does not wait for it
  slow.cameras.go.release()
  slow.wait(-3.0)
  slow.settle()
  assert slow.queries.blind == ''


def test_pictures_that_wait_for_the_vla_have_a_bound(monkeypatch):
  monkeypatch.setattr(vla_queries, '_MAX_KEPT_BYTES', 1000)
  setup = _Setup()
  for stamp in range(9):
    setup.query(stamp)
  kept = [stamp for stamp in range(9) if setup.queries.has_pending(stamp)]
  assert kept == [5, 6, 7, 8]  # 216 bytes each
  for stamp in kept[:3]:
    setup.queries.discard(stamp)
  setup.query(9)
  assert setup.queries.has_pending(8) and setup.queries.has_pending(9)


def test_a_retry_ends_when_it_is_given_up():
  setup, give_up = _Setup(), threading.Event()
  setup.query('a')
  setup.vla.lost = 'no network'
  give_up.set()
  start = setup.clock.now()
  assert not list(setup.queries.retry(['a'], 30.0, give_up))
  assert setup.clock.now() == start and setup.queries.has_pending('a')


def test_new_queries_do_not_push_away_those_that_are_retried():
  setup = _Setup()
  setup.vla.delay = 0.2  # of which new queries would use every bit
  setup.query('a')
  setup.query('b')
  with setup.queries.only_retries(1.0):
    retry = setup.queries.retry(['a', 'b'], 1.0)
    setup.query('c')
    assert [query.stamp for query, _ in retry] == ['a', 'b']
    setup.query('d')
  setup.query('e')
  assert [x.stamp for x in setup.vla.queries][-1] == 'e'
  assert not {'c', 'd'} & {x.stamp for x in setup.vla.queries}
