"""A journal as its learner follows it."""

from rlt_jax.robot.recording import episodes
from rlt_jax.robot.recording.followed_journal import FollowedJournal
from rlt_jax.robot.recording.journal import Journal
from tests.robot.recording.test_episodes import write_episode


def _write(folder, *lengths):
  with Journal(folder) as journal:
    for num in lengths:
      write_episode(episodes.EpisodeLog(journal), num, 'success')


def _read(followed):
  found = []
  for episode in followed.read_new():
    followed.pass_by(episode)
    found.append(episode.num_steps)
  return found


def test_a_folder_without_a_journal_is_said_once(tmp_path, capsys):
  """It may be mistyped, and the learner would wait for ever."""
  followed = FollowedJournal(tmp_path / 'journal')
  assert _read(followed) == _read(followed) == []
  said = capsys.readouterr().out
  assert said == f'Waiting for a journal in {tmp_path / "journal"}.\n'
  _write(tmp_path / 'journal', 5, 7)
  assert _read(followed) == [5, 7]
  _write(tmp_path / 'journal', 3)
  assert _read(followed) == [3] and capsys.readouterr().out == ''


def test_one_that_is_there_is_not_waited_for(tmp_path, capsys):
  _write(tmp_path, 5)
  assert _read(FollowedJournal(tmp_path)) == [5]
  assert capsys.readouterr().out == ''
