"""Episodes through a journal and back."""

import numpy as np
import pytest

from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.journal_files import files, NEXT
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


def write_episode(log, num, outcome, observed=None):
  log.begin(policy_version=3)
  for i in range(num):
    log.step(0, _step(i))
  # Late answers come after the steps, in any order.
  for i in reversed(
    segments.observed_steps(num, 2) if observed is None else observed
  ):
    log.features(0, i, _features(i), late=i >= 4)
  log.end(outcome)


def test_episodes_come_back_in_order(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    for num, outcome in ((5, 'success'), (4, 'time_out'), (3, 'rerecord')):
      write_episode(log, num, outcome)
  found = list(episodes.read(tmp_path))
  assert [e.num_steps for e in found] == [5, 4, 3]
  assert [e.file_number for e in found] == [0, 1, 2]
  assert [e.end for e in found] == ['success', 'cut', None]
  assert [e.outcome for e in found] == ['success', 'time_out', 'rerecord']
  assert found[0].begin == {'policy_version': 3}
  (recording,) = found[0].recordings
  assert sorted(recording.features) == [0, 2, 4]
  np.testing.assert_array_equal(recording.features[2].z_rl, 2.0)
  assert recording.late == {4}
  np.testing.assert_array_equal(recording.steps[3].command, [3.5, 3.5])
  assert recording.steps[3].source == 1
  later = episodes.read(tmp_path, found[0].index)
  assert [e.num_steps for e in later] == [4, 3]


def _parts(folder):
  """Returns (first step, number of steps, end) of what can be learned."""
  return [
    (int(part.steps[0].measured[0]), len(part.steps), part.end)
    for episode in episodes.read(folder)
    for part in episodes.learnable_parts(episode, 2)
  ]


def test_what_a_dead_writer_left_goes_on_after_a_gap(tmp_path):
  journal = Journal(tmp_path)
  log = episodes.EpisodeLog(journal)
  log.begin()
  for i in range(15):
    log.step(0, _step(i))
  for i in (0, 2, 6, 8, 10, 14):
    log.features(0, i, _features(i), late=False)
  journal.close()
  (episode,) = episodes.read(tmp_path)
  assert (episode.outcome, episode.end) == (None, 'cut')
  assert _parts(tmp_path) == [(0, 2, 'cut'), (6, 4, 'cut'), (14, 1, 'cut')]
  for part in episodes.learnable_parts(episode, 2):
    first = int(part.steps[0].measured[0])
    for step, features in part.features.items():
      assert features.z_rl[0] == first + step
    assert segments.cut(
      part.steps, part.features, chunk_size=_C, replay_stride=2, end=part.end
    )


@pytest.mark.parametrize(
  'outcome, observed, expected',
  [
    # The observation after a last step that ends the episode is not needed.
    ('success', [0, 2, 4], [(0, 6, 'success')]),
    ('time_out', [0, 2, 4], [(0, 4, 'cut')]),
    ('success', [0, 4, 6], [(4, 2, 'success')]),
    ('success', [0, 2], [(0, 2, 'cut')]),
    ('failure', [0, 2, 4, 6], [(0, 6, 'failure')]),
    ('failure', [], []),
    ('abort', [0, 2, 4, 6], []),
  ],
)
def test_a_label_is_kept_where_its_end_was_seen(
  tmp_path, outcome, observed, expected
):
  with Journal(tmp_path) as journal:
    write_episode(episodes.EpisodeLog(journal), 6, outcome, observed=observed)
  assert _parts(tmp_path) == expected


@pytest.mark.parametrize(
  'outcome, ends',
  [
    ('success', ['cut', 'success']),
    ('rerecord', []),
    ('abort', []),
    ('hold', ['cut', 'cut']),
  ],
)
def test_an_outcome_holds_for_all_recordings(tmp_path, outcome, ends):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    log.begin()
    for recording in range(2):
      for i in range(4):
        log.step(recording, _step(i))
      for i in (0, 2, 4):
        log.features(recording, i, _features(i), late=False)
    log.end(outcome)
  assert [end for _, _, end in _parts(tmp_path)] == ends


def test_an_unknown_outcome_is_refused(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    log.begin()
    with pytest.raises(ValueError, match="outcome must be one of .*: 'won'"):
      log.end('won')


def test_half_of_another_file_is_not_an_episode(tmp_path):
  """A version without `next` numbers used those of removed files again."""
  with Journal(tmp_path) as journal:
    write_episode(episodes.EpisodeLog(journal), 5, 'success')
    write_episode(episodes.EpisodeLog(journal), 4, 'success')
  last = list(episodes.read(tmp_path))[-1].index
  files(tmp_path)[-1].path.unlink()
  (tmp_path / NEXT).unlink()
  with Journal(tmp_path) as journal:
    write_episode(episodes.EpisodeLog(journal), 12, 'success')
  with pytest.raises(JournalError, match=f'row that was read, {last}: it'):
    list(episodes.read(tmp_path, last))
