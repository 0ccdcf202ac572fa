"""Episodes through a journal and back."""

import numpy as np
import pytest

from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal

_A, _Z, _P, _C = 2, 3, 4, 4


def _step(tick):
  return segments.Step(np.full(_A, tick + 0.5), np.full(_A, float(tick)), 1)


def _seen(tick, live=True):
  return segments.Seen(
    np.full(_Z, tick),
    np.full(_P, tick),
    np.full((_C, _A), tick),
    np.full(_A, tick),
    live,
  )


def _write(log, num, outcome, ticks=None):
  log.begin(policy_version=3)
  for tick in range(num):
    assert log.step(_step(tick)) == tick
  # Late answers come after the steps, in any order.
  for tick in reversed(segments.needed(num, 2) if ticks is None else ticks):
    log.seen(tick, _seen(tick, live=tick < 4))
  log.end(outcome)


def test_episodes_come_back_in_order(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    for num, outcome in ((5, 'success'), (4, 'time_out'), (3, 'rerecord')):
      _write(log, num, outcome)
  found = list(episodes.read(tmp_path))
  assert [len(e.steps) for e in found] == [5, 4, 3]
  assert [e.end for e in found] == ['success', 'cut', None]
  assert [e.outcome for e in found] == ['success', 'time_out', 'rerecord']
  assert found[0].begin == {'policy_version': 3}
  assert sorted(found[0].seen) == [0, 2, 4]
  assert not found[0].seen[4].live and found[0].seen[2].live
  np.testing.assert_array_equal(found[0].steps[3].command, [3.5, 3.5])
  assert found[0].steps[3].source == 1
  assert [len(e.steps) for e in episodes.read(tmp_path, found[0].index)] == [
    4,
    3,
  ]


def test_what_a_dead_writer_left_is_kept_as_far_as_it_was_seen(tmp_path):
  journal = Journal(tmp_path)
  log = episodes.EpisodeLog(journal)
  log.begin()
  for tick in range(7):
    log.step(_step(tick))
  for tick in (0, 2, 6):
    log.seen(tick, _seen(tick))
  journal.close()
  (episode,) = episodes.read(tmp_path)
  assert (episode.outcome, episode.end) == (None, 'cut')
  steps, end = episodes.without_gap(episode, 2)
  assert (len(steps), end) == (2, 'cut')


def test_a_gap_takes_the_label_with_it(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    _write(log, 6, 'success', ticks=[0, 2, 4])
    _write(log, 6, 'success')
    _write(log, 6, 'abort', ticks=[0, 2])
    _write(log, 6, 'failure', ticks=[])
  found = [episodes.without_gap(e, 2) for e in episodes.read(tmp_path)]
  assert [(len(steps), end) for steps, end in found] == [
    (4, 'cut'),
    (6, 'success'),
    (2, None),
    (0, 'cut'),
  ]


def test_an_unknown_outcome_is_refused(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    log.begin()
    with pytest.raises(ValueError, match="outcome must be one of .*: 'won'"):
      log.end('won')
