"""Episodes through a journal and back."""

import numpy as np
import pytest

from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.types import Features

_A, _Z, _P, _C = 2, 3, 4, 4


def _step(i):
  return segments.Step(np.full(_A, i + 0.5), np.full(_A, float(i)), 1)


def _features(step):
  return Features(
    np.full(_Z, step),
    np.full(_P, step),
    np.full((_C, _A), step),
    np.full(_A, step),
  )


def _write(log, num, outcome, observed=None):
  log.begin(policy_version=3)
  for i in range(num):
    assert log.step(_step(i)) == i
  # Late answers come after the steps, in any order.
  for i in reversed(
    segments.observed_steps(num, 2) if observed is None else observed
  ):
    log.features(i, _features(i), late=i >= 4)
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
  assert sorted(found[0].features) == [0, 2, 4]
  np.testing.assert_array_equal(found[0].features[2].z_rl, 2.0)
  assert found[0].late == {4}
  np.testing.assert_array_equal(found[0].steps[3].command, [3.5, 3.5])
  assert found[0].steps[3].source == 1
  assert [len(e.steps) for e in episodes.read(tmp_path, found[0].index)] == [
    4,
    3,
  ]


def test_the_steps_of_a_dead_writer_are_kept_up_to_the_first_gap(tmp_path):
  journal = Journal(tmp_path)
  log = episodes.EpisodeLog(journal)
  log.begin()
  for i in range(7):
    log.step(_step(i))
  for i in (0, 2, 6):
    log.features(i, _features(i), late=False)
  journal.close()
  (episode,) = episodes.read(tmp_path)
  assert (episode.outcome, episode.end) == (None, 'cut')
  steps, end = episodes.without_gap(episode, 2)
  assert (len(steps), end) == (2, 'cut')


def test_an_episode_with_a_gap_loses_its_label(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    _write(log, 6, 'success', observed=[0, 2, 4])
    _write(log, 6, 'success')
    _write(log, 6, 'abort', observed=[0, 2])
    _write(log, 6, 'failure', observed=[])
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
