"""A learner that is started again, or whose journal or disk is not well."""

import errno
import os
import shutil
import threading

import jax
import numpy as np
import pytest

from rlt_jax import files as files_lib
from rlt_jax.export import checkpoint
from rlt_jax.lock import LockedError
from rlt_jax.reporting import metrics
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.recording.journal import JournalError
from rlt_jax.robot.recording.journal_files import files
from tests.training.test_journal_learner import (
  make_learner,
  read_log,
  SPEC,
  write_discarded,
  write_episodes,
)


def test_one_that_died_ends_where_the_unbroken_one_does(tmp_path):
  write_episodes(tmp_path / 'journal', [20, 31])
  one = make_learner(tmp_path)
  one.catch_up()
  one.save()
  write_episodes(tmp_path / 'journal', [24])
  one.catch_up()
  one.close()  # without a save
  write_episodes(tmp_path / 'journal', [18])
  make_learner(tmp_path).catch_up()
  make_learner(tmp_path, 'unbroken').catch_up()
  broken, unbroken = (
    snapshot.read(tmp_path / name, SPEC).layers for name in ('work', 'unbroken')
  )
  jax.tree.map(np.testing.assert_array_equal, broken, unbroken)


def test_a_learner_in_a_new_workdir_is_another_one(tmp_path):
  write_discarded(tmp_path, [20])

  def restarted(learner):
    learner.close()
    learner = make_learner(tmp_path)
    return learner, snapshot.read(tmp_path / 'work', SPEC)

  learner = make_learner(tmp_path)
  first = snapshot.read(tmp_path / 'work', SPEC)
  learner, found = restarted(learner)  # it died before its first checkpoint
  assert found.learner == first.learner != ''
  learner.catch_up()
  learner.save()
  learner, found = restarted(learner)
  assert found.learner == first.learner and found.version == 3
  (tmp_path / 'work').rename(tmp_path / 'old')
  _, found = restarted(learner)
  assert found.learner not in ('', first.learner) and found.version == 1


def test_rows_after_the_checkpoint_are_not_there_twice(tmp_path):
  write_discarded(tmp_path, [20, 31])
  learner = make_learner(tmp_path)
  learner.catch_up()
  learner.save()
  write_discarded(tmp_path, [24, 18])
  assert learner.catch_up() == 2
  learner.close()  # without a save
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 2
  assert [row['dropped_steps'] for row in read_log(tmp_path)] == [
    20,
    31,
    24,
    18,
  ]
  versions = [row['version'] for row in read_log(tmp_path)]
  assert versions == sorted(set(versions)) and versions[-1] == learner.version


def _fill_disk(monkeypatch, times):
  """Lets each write of the learner fail so often; returns what failed."""
  failed = []

  def failing(name, write):
    def attempt(*args, **kwargs):
      if failed.count(name) < times:
        failed.append(name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      return write(*args, **kwargs)

    return attempt

  for owner, name in (
    (metrics, '_append'), (snapshot, 'write'), (checkpoint, 'save')
  ):  # fmt: skip
    monkeypatch.setattr(owner, name, failing(name, getattr(owner, name)))
  monkeypatch.setattr(files_lib, '_RETRY_S', 0.0)
  return failed


def test_a_full_disk_costs_no_episode(tmp_path, monkeypatch, capsys):
  write_episodes(tmp_path / 'journal', [20, 31])
  unbroken = make_learner(tmp_path, 'unbroken')
  unbroken.catch_up()
  learner = make_learner(tmp_path)
  failed = _fill_disk(monkeypatch, 2)
  assert learner.catch_up() == 2
  learner.save()
  assert sorted(failed) == ['_append'] * 2 + ['save'] * 2 + ['write'] * 2
  assert capsys.readouterr().out.count('Waiting for the disk: ') == 3
  own, other = (
    [[row[x] for x in ('episode', 'rows', 'critic_updates')] for row in log]
    for log in (read_log(tmp_path), read_log(tmp_path, 'unbroken'))
  )
  assert own == other
  found, expected = (
    snapshot.read(tmp_path / name, SPEC) for name in ('work', 'unbroken')
  )
  assert found.version == expected.version == 3
  jax.tree.map(np.testing.assert_array_equal, found.layers, expected.layers)
  learner.close()
  assert make_learner(tmp_path).catch_up() == 0


def test_a_learner_that_is_stopped_does_not_wait_for_the_disk(
  tmp_path, monkeypatch
):
  write_discarded(tmp_path, [20])
  learner, stop = make_learner(tmp_path), threading.Event()
  stop.set()
  _fill_disk(monkeypatch, 10**6)
  with pytest.raises(OSError, match='No space left'):
    learner.follow(stop, save_every_s=99, poll_s=0.01)


def test_another_journal_is_read_from_its_beginning(tmp_path, capsys):
  write_discarded(tmp_path, [20, 31])
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 2
  learner.save()
  learner.close()
  (tmp_path / 'journal').rename(tmp_path / 'old')
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 0  # it may come later
  assert 'another journal' not in capsys.readouterr().out
  write_discarded(tmp_path, [24])
  assert learner.catch_up() == 1
  assert 'is another journal than before' in capsys.readouterr().out
  assert [row['dropped_steps'] for row in read_log(tmp_path)] == [20, 31, 24]
  learner.save()
  learner.close()
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 0
  assert 'another journal' not in capsys.readouterr().out


def test_a_removed_file_is_said_once(tmp_path, capsys):
  write_discarded(tmp_path, [20, 24, 20])
  files(tmp_path / 'journal')[1].path.unlink()
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 2
  assert 'files with the numbers [1]: they are missing' in (
    capsys.readouterr().out
  )
  assert learner.catch_up() == 0 and capsys.readouterr().out == ''


def test_an_episode_after_a_removed_one_is_learned_whole(tmp_path, capsys):
  write_discarded(tmp_path, [20, 31])
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 2
  files(tmp_path / 'journal')[-1].path.unlink()
  assert learner.catch_up() == 0
  write_discarded(tmp_path, [40, 12])
  assert learner.catch_up() == 2
  assert [row['dropped_steps'] for row in read_log(tmp_path)] == [
    20,
    31,
    40,
    12,
  ]
  files(tmp_path / 'journal')[-1].path.unlink()
  learner.save()
  learner.close()
  assert make_learner(tmp_path).catch_up() == 0
  assert 'missing' not in capsys.readouterr().out


@pytest.mark.parametrize('lengths', [[], [40], [12], [30, 20]])
def test_an_older_copy_of_the_journal_is_refused(tmp_path, lengths):
  """Its numbers are given to other episodes than were learned."""
  journal = tmp_path / 'journal'
  write_discarded(tmp_path, [20])
  shutil.copytree(journal, tmp_path / 'copy')
  write_discarded(tmp_path, [31])
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 2
  shutil.rmtree(journal)
  (tmp_path / 'copy').rename(journal)
  if lengths:
    write_discarded(tmp_path, lengths)
  with pytest.raises(JournalError, match='must have what was learned from it'):
    learner.catch_up()
  assert len(read_log(tmp_path)) == 2


def test_a_second_learner_in_a_workdir_is_refused(tmp_path):
  learner = make_learner(tmp_path)
  version = learner.version
  with pytest.raises(LockedError, match='must have one user'):
    make_learner(tmp_path)
  assert snapshot.read(tmp_path / 'work', SPEC).version == version
  learner.close()
  make_learner(tmp_path)


def test_what_was_learned_before_a_damaged_file_is_saved(tmp_path):
  write_discarded(tmp_path, [20, 24])
  path = files(tmp_path / 'journal')[1].path
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(JournalError, match='is damaged at byte'):
    make_learner(tmp_path).follow(
      threading.Event(), save_every_s=99, poll_s=0.01
    )
  path.rename(path.with_suffix('.bad'))
  learner = make_learner(tmp_path)
  assert learner.version > 1 and learner.catch_up() == 0
