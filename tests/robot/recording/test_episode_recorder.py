"""Recordings of episodes, with queries that are answered late or never."""

import contextlib

import numpy as np
import pytest

from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.robot.recording import episodes
from rlt_jax.robot.recording.episode_recorder import EpisodeRecorder
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.segments import Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.schema import Reply
from rlt_jax.types import Source
from tests.robot.fakes import BUNDLE, InlineExecutor


class _Queries:
  """Queries whose retries are answered once `answers` is true."""

  def __init__(self):
    self.pending, self.answers = {}, True

  def has_pending(self, stamp):
    return stamp in self.pending

  def discard(self, stamp):
    self.pending.pop(stamp, None)

  def only_retries(self, timeout_s):
    return contextlib.nullcontext()

  def retry(self, stamps, timeout_s, give_up):
    del timeout_s, give_up
    return [(self.pending[x], _reply(x.step)) for x in stamps if self.answers]

  def cause(self):
    return 'VLA lost'


def _reply(value):
  chunk = np.full((20, 3), value, np.float32)
  return Reply(chunk, np.full(6, value, np.float32), chunk)


class _Recording:
  """Drives control steps; `reply` answers the query of each observed step."""

  def __init__(self, folder):
    self.folder, self.queries = folder, _Queries()
    self.journal = Journal(folder)
    self.recorder = EpisodeRecorder(
      BUNDLE,
      WriteBuffer(episodes.EpisodeLog(self.journal)),
      self.queries,
      InlineExecutor(),
      timeout_s=1.0,
    )
    self.recorder.begin(episode=6, policy_version=4)

  def query(self):
    stamp = self.recorder.stamp_query()
    query = VlaQuery(
      stamp, 0.0, 0.0, np.zeros(3), np.full(6, 0.1, np.float32), 0
    )
    if stamp is not None:
      self.queries.pending[stamp] = query
    return query

  def drive(self, num_steps, *, reply=True):
    for _ in range(num_steps):
      if self.recorder.needs_query():
        query = self.query()
        if reply:
          self.recorder.on_reply(query, _reply(query.stamp.step))
      self.recorder.step(Step(np.zeros(3), np.zeros(3), Source.ACTOR))

  def read(self):
    return list(episodes.read(self.folder))


def test_steps_and_answers_are_recorded_at_the_stride(tmp_path):
  recording = _Recording(tmp_path)
  recording.drive(5)
  assert recording.recorder.active and recording.recorder.num_steps == 5
  assert recording.recorder.end('success') == ''
  (episode,) = recording.read()
  assert episode.outcome == 'success'
  assert episode.begin == {'policy_version': 4, 'episode': 6, 'waited': 0}
  (found,) = episode.recordings
  assert len(found.steps) == 5 and sorted(found.features) == [0, 2, 4]
  # Normalized by the bundle's mean of 0.1.
  np.testing.assert_array_equal(found.features[2].proprio, 0.0)
  np.testing.assert_array_equal(found.features[4].z_rl, 4.0)
  assert found.features[0].reference.shape == (BUNDLE.chunk_size, 3)
  assert not found.late and not recording.queries.pending


def test_before_the_first_step_the_newest_answer_counts(tmp_path):
  recording = _Recording(tmp_path)
  for value in (7, 8):
    recording.recorder.on_reply(recording.query(), _reply(value))
  recording.drive(1)
  recording.recorder.end('failure')
  (found,) = recording.read()[0].recordings
  np.testing.assert_array_equal(found.features[0].z_rl, 8.0)


def test_a_hold_ends_a_recording_and_late_answers_are_marked(tmp_path):
  recording = _Recording(tmp_path)
  recording.drive(3)
  recording.drive(2, reply=False)
  recording.recorder.hold()
  assert not recording.recorder.active
  assert recording.recorder.stamp_query() is None
  assert recording.recorder.resume(give_up=False) == ''
  recording.drive(2)
  recording.recorder.end('success')
  (episode,) = recording.read()
  first, second = episode.recordings
  assert episode.outcome == 'success'
  assert (len(first.steps), len(second.steps)) == (5, 2)
  assert sorted(first.features) == [0, 2, 4] and first.late == {4}
  assert recording.recorder.late_queries == 1


@pytest.mark.parametrize('give_up', [False, True])
def test_the_arm_waits_for_the_vla_unless_the_operator_drives(
  tmp_path, give_up
):
  recording = _Recording(tmp_path)
  recording.queries.answers = False
  recording.drive(4, reply=False)
  recording.recorder.hold()
  waiting = recording.recorder.resume(give_up=give_up)
  busy = 'The VLA must answer what it was asked before the hold: VLA lost.'
  assert waiting == ('' if give_up else busy)
  recording.queries.answers = True
  while recording.recorder.resume(give_up=give_up):
    pass
  recorder = recording.recorder
  # Those that the operator did not wait for are still answered at the end.
  assert recorder.late_queries == (0 if give_up else 2)
  recording.drive(1)
  assert recorder.end('success') == '' and recorder.late_queries == 2
  # Step 4 was never queried: the arm held before.
  assert recorder.missing_queries == 1
  assert not recording.queries.pending


@pytest.mark.parametrize('outcome', ['success', 'failure', 'rerecord'])
def test_an_outcome_holds_for_what_came_before_a_hold(tmp_path, outcome):
  recording = _Recording(tmp_path)
  recording.drive(6)
  recording.query()
  recording.recorder.hold()
  # Said after the arm was released, and before it moves again.
  assert recording.recorder.resume(give_up=False) == ''
  assert recording.recorder.end(outcome) == ''
  (episode,) = recording.read()
  assert episode.outcome == outcome and len(episode.recordings) == 1
  ends = [x.end for x in episodes.learnable_parts(episode, 2)]
  assert ends == ([] if outcome == 'rerecord' else [outcome])


def test_an_end_that_gives_up_leaves_a_gap(tmp_path):
  recording = _Recording(tmp_path)
  recording.queries.answers = False
  recording.drive(4)
  recording.drive(4, reply=False)
  recording.drive(4)
  assert recording.recorder.end('success', give_up=True) == ''
  assert recording.recorder.missing_queries == 3
  (episode,) = recording.read()
  parts = episodes.learnable_parts(episode, 2)
  assert [(len(x.steps), x.end) for x in parts] == [(2, 'cut'), (4, 'success')]


@pytest.mark.parametrize(
  'answered, last, outcome, lost',
  [
    (6, 0, 'success', ''),
    (4, 2, 'success', 'lost its label'),
    (4, 2, 'time_out', ''),
    (4, 2, 'rerecord', ''),
    (0, 6, 'failure', 'gave no row: the answers'),
    (0, 0, 'success', 'gave no row: no step'),
    (0, 0, 'hold', ''),
  ],
)
def test_what_the_learner_must_do_without_is_known(
  tmp_path, answered, last, outcome, lost
):
  recording = _Recording(tmp_path)
  recording.queries.answers = False
  recording.drive(answered)
  recording.drive(last, reply=False)
  assert recording.recorder.end(outcome, give_up=True) == ''
  found = recording.recorder.lost
  assert found.startswith(lost) if lost else found == ''
  recording.drive(2)
  recording.recorder.end('success')
  assert recording.recorder.lost == ''


def test_an_answer_to_an_earlier_episode_is_ignored(tmp_path):
  recording = _Recording(tmp_path)
  old = recording.query()
  recording.drive(2)
  recording.recorder.end('success')
  recording.drive(1, reply=False)
  recording.recorder.on_reply(old, _reply(9))
  recording.recorder.end('abort')
  (found,) = recording.read()[1].recordings
  assert all(x.z_rl[0] != 9 for x in found.features.values())
