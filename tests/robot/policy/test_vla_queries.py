"""Queries of the VLA with camera pictures, and their retries."""

import numpy as np
import pytest

from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.arms.faults import CameraFault
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from tests.robot.fake_clock import FakeClock
from tests.robot.fakes import InlineExecutor, Vla, WIRE


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
      max_camera_age_s=0.1,
      frozen_camera_timeout_s=0.3,
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
  answers = setup.queries.retry(['a', 'b'], timeout_s=1.0)
  assert [query.stamp for query, _ in answers] == ['a', 'b']
  assert setup.vla.requests[2] is first and setup.vla.requests[3] is second


def test_a_retry_ends_with_its_timeout_and_keeps_the_query():
  setup = _Setup()
  setup.query('a')
  setup.vla.lost = 'no network'
  start = setup.clock.now()
  assert setup.queries.retry(['a'], timeout_s=2.0) == []
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
      max_camera_age_s=0.1,
      frozen_camera_timeout_s=None,
    )
