"""The learner that follows a journal."""

import dataclasses
import errno
import json
import os
import shutil
import threading
import time

import jax
import numpy as np
import pytest

from rlt_jax import config as config_lib
from rlt_jax import files as files_lib
from rlt_jax.agents.rlt import RltConfig
from rlt_jax.export import checkpoint
from rlt_jax.lock import LockedError
from rlt_jax.reporting import metrics
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.robot.recording.journal_files import files
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.journal_learner import JournalLearner
from rlt_jax.types import Features
from tests.robot.conftest import make_spec

_SPEC = make_spec()
_CONFIG = PracticeConfig(
  agent=RltConfig(
    hidden_dims=(16, 16),
    frozen_action_dims=(1,),
    exploration_std=_SPEC.exploration_std,
    batch_size=8,
  ),
  chunk_size=4,
  replay_stride=2,
  learning_starts=8,
  vla_warmup_steps=32,
  replay_capacity=256,
)


def _episodes(folder, lengths, outcome='success', late=False, **meta):
  rng = np.random.default_rng(sum(lengths))
  with Journal(folder) as journal:
    log = episodes.EpisodeLog(journal, **meta)
    for num in lengths:
      log.begin(policy_version=1)
      for step in segments.observed_steps(num, _CONFIG.replay_stride):
        features = Features(
          rng.normal(size=_SPEC.z_dim),
          rng.normal(size=_SPEC.proprio_dim),
          rng.normal(size=(_SPEC.chunk_size, _SPEC.action_dim)),
          rng.normal(size=_SPEC.action_dim),
        )
        log.features(0, step, features, late=late)
      for _ in range(num):
        log.step(
          0,
          segments.Step(
            rng.normal(size=_SPEC.action_dim),
            rng.normal(size=_SPEC.action_dim),
            1,
          ),
        )
      log.end(outcome)


def _learner(tmp_path, name='work', **changes):
  config = {'spec': _SPEC, 'config': _CONFIG} | changes
  return JournalLearner(
    journal=tmp_path / 'journal', workdir=tmp_path / name, **config
  )


def _log(tmp_path, name='work'):
  lines = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_it_learns_what_the_loop_writes_and_publishes(tmp_path):
  _episodes(tmp_path / 'journal', [20, 31])
  learner = _learner(tmp_path)
  first = snapshot.read(tmp_path / 'work', _SPEC)
  assert first.version == 1 and first.critic_updates == 0
  assert learner.catch_up() == 2
  assert learner.catch_up() == 0
  _episodes(tmp_path / 'journal', [24], late=True)
  assert learner.catch_up() == 1
  found = snapshot.read(tmp_path / 'work', _SPEC, newer_than=first.version)
  assert found.version == learner.version == 4
  # 10, 16 and 12 rows start in episodes of 20, 31 and 24 steps.
  log = _log(tmp_path)
  assert [row['rows'] for row in log] == [10, 26, 38]
  # 5 a row, in dispatches of 20.
  assert found.critic_updates == 5 * 38 // 20 * 20
  assert log[-1]['update_to_data'] == pytest.approx(180 / 38)
  assert [row['late_queries'] for row in log][1:] == [0, 12]
  moved = np.abs(found.layers[0] - first.layers[0]).max()
  assert moved > 1e-4
  chunk = NumpyPolicy(_SPEC, found.layers).act(
    np.zeros(6), np.zeros(5), np.zeros((4, 3))
  )
  assert np.isfinite(chunk).all()


def test_one_that_died_ends_where_the_unbroken_one_does(tmp_path):
  _episodes(tmp_path / 'journal', [20, 31])
  one = _learner(tmp_path)
  one.catch_up()
  one.save()
  _episodes(tmp_path / 'journal', [24])
  one.catch_up()
  one.close()  # without a save
  _episodes(tmp_path / 'journal', [18])
  _learner(tmp_path).catch_up()
  _learner(tmp_path, 'unbroken').catch_up()
  broken, unbroken = (
    snapshot.read(tmp_path / name, _SPEC).layers
    for name in ('work', 'unbroken')
  )
  jax.tree.map(np.testing.assert_array_equal, broken, unbroken)


def test_rows_after_the_checkpoint_are_not_there_twice(tmp_path):
  _discarded(tmp_path, [20, 31])
  learner = _learner(tmp_path)
  learner.catch_up()
  learner.save()
  _discarded(tmp_path, [24, 18])
  assert learner.catch_up() == 2
  learner.close()  # without a save
  learner = _learner(tmp_path)
  assert learner.catch_up() == 2
  assert [row['dropped_steps'] for row in _log(tmp_path)] == [20, 31, 24, 18]
  versions = [row['version'] for row in _log(tmp_path)]
  assert versions == sorted(set(versions)) and versions[-1] == learner.version


def test_it_follows_until_stop_is_set(tmp_path, capsys):
  _episodes(tmp_path / 'journal', [20])
  learner, stop = _learner(tmp_path), threading.Event()
  thread = threading.Thread(
    target=learner.follow,
    args=(stop,),
    kwargs={'save_every_s': 1e-6, 'poll_s': 0.01},
  )
  thread.start()
  while learner.version < 2 and thread.is_alive():
    time.sleep(0.01)
  stop.set()
  thread.join()
  assert learner.version == 2
  published = capsys.readouterr().out.splitlines()
  assert published == [f'version {i} is published' for i in (1, 2)]
  assert _learner(tmp_path).catch_up() == 0  # it was saved


def test_metrics_have_the_keys_of_practice(tmp_path):
  _episodes(tmp_path / 'journal', [20, 31])
  learner = _learner(tmp_path)
  learner.catch_up()
  rows = metrics.read_metrics(tmp_path / 'work')
  assert [row['env_steps'] for row in rows] == [20, 51]
  assert {
    'rows', 'critic_updates', 'updates_per_s', 'critic_loss', 'finite'
  } <= rows[-1].keys()  # fmt: skip
  assert {name for row in rows for name in row} <= metrics.METRICS.keys()
  assert rows[-1]['pending_updates'] == 5 * 26 - rows[-1]['critic_updates']


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
  _episodes(tmp_path / 'journal', [20, 31])
  unbroken = _learner(tmp_path, 'unbroken')
  unbroken.catch_up()
  learner = _learner(tmp_path)
  failed = _fill_disk(monkeypatch, 2)
  assert learner.catch_up() == 2
  learner.save()
  assert sorted(failed) == ['_append'] * 2 + ['save'] * 2 + ['write'] * 2
  assert capsys.readouterr().out.count('Waiting for the disk: ') == 3
  own, other = (
    [[row[x] for x in ('episode', 'rows', 'critic_updates')] for row in log]
    for log in (_log(tmp_path), _log(tmp_path, 'unbroken'))
  )
  assert own == other
  found, expected = (
    snapshot.read(tmp_path / name, _SPEC) for name in ('work', 'unbroken')
  )
  assert found.version == expected.version == 3
  jax.tree.map(np.testing.assert_array_equal, found.layers, expected.layers)
  learner.close()
  assert _learner(tmp_path).catch_up() == 0


def test_a_learner_that_is_stopped_does_not_wait_for_the_disk(
  tmp_path, monkeypatch
):
  _discarded(tmp_path, [20])
  learner, stop = _learner(tmp_path), threading.Event()
  stop.set()
  _fill_disk(monkeypatch, 10**6)
  with pytest.raises(OSError, match='No space left'):
    learner.follow(stop, save_every_s=99, poll_s=0.01)


def test_what_is_to_be_recorded_again_is_not_learned(tmp_path):
  _episodes(tmp_path / 'journal', [20], outcome='rerecord')
  learner = _learner(tmp_path)
  assert learner.catch_up() == 1
  assert _log(tmp_path)[0]['rows'] == 0


def test_an_episode_without_rows_is_said(tmp_path, capsys):
  with Journal(tmp_path / 'journal') as journal:
    log = episodes.EpisodeLog(journal)
    log.begin(policy_version=1)
    for _ in range(7):
      log.step(0, segments.Step(np.zeros(3), np.zeros(3), 1))
    log.end('success')
  learner = _learner(tmp_path)
  assert learner.catch_up() == 1
  assert 'Episode 0 (success, 7 steps) gave no row' in capsys.readouterr().out
  assert _log(tmp_path)[0]['dropped_steps'] == 7


def _discarded(tmp_path, lengths, **meta):
  """Writes episodes that are read and, to compile nothing, not learned."""
  _episodes(tmp_path / 'journal', lengths, outcome='rerecord', **meta)


def test_another_journal_is_read_from_its_beginning(tmp_path, capsys):
  _discarded(tmp_path, [20, 31])
  learner = _learner(tmp_path)
  assert learner.catch_up() == 2
  learner.save()
  learner.close()
  (tmp_path / 'journal').rename(tmp_path / 'old')
  learner = _learner(tmp_path)
  assert learner.catch_up() == 0  # it may come later
  assert 'another journal' not in capsys.readouterr().out
  _discarded(tmp_path, [24])
  assert learner.catch_up() == 1
  assert 'is another journal than before' in capsys.readouterr().out
  assert [row['dropped_steps'] for row in _log(tmp_path)] == [20, 31, 24]
  learner.save()
  learner.close()
  learner = _learner(tmp_path)
  assert learner.catch_up() == 0
  assert 'another journal' not in capsys.readouterr().out


def test_a_removed_file_is_said_once(tmp_path, capsys):
  _discarded(tmp_path, [20, 24, 20])
  files(tmp_path / 'journal')[1].path.unlink()
  learner = _learner(tmp_path)
  assert learner.catch_up() == 2
  assert 'files with the numbers [1]: they are missing' in (
    capsys.readouterr().out
  )
  assert learner.catch_up() == 0 and capsys.readouterr().out == ''


def test_an_episode_after_a_removed_one_is_learned_whole(tmp_path, capsys):
  _discarded(tmp_path, [20, 31])
  learner = _learner(tmp_path)
  assert learner.catch_up() == 2
  files(tmp_path / 'journal')[-1].path.unlink()
  assert learner.catch_up() == 0
  _discarded(tmp_path, [40, 12])
  assert learner.catch_up() == 2
  assert [row['dropped_steps'] for row in _log(tmp_path)] == [20, 31, 40, 12]
  files(tmp_path / 'journal')[-1].path.unlink()
  learner.save()
  learner.close()
  assert _learner(tmp_path).catch_up() == 0
  assert 'missing' not in capsys.readouterr().out


@pytest.mark.parametrize('lengths', [[], [40], [12], [30, 20]])
def test_an_older_copy_of_the_journal_is_refused(tmp_path, lengths):
  """Its numbers are given to other episodes than were learned."""
  journal = tmp_path / 'journal'
  _discarded(tmp_path, [20])
  shutil.copytree(journal, tmp_path / 'copy')
  _discarded(tmp_path, [31])
  learner = _learner(tmp_path)
  assert learner.catch_up() == 2
  shutil.rmtree(journal)
  (tmp_path / 'copy').rename(journal)
  if lengths:
    _discarded(tmp_path, lengths)
  with pytest.raises(JournalError, match='must have what was learned from it'):
    learner.catch_up()
  assert len(_log(tmp_path)) == 2


def test_a_second_learner_in_a_workdir_is_refused(tmp_path):
  learner = _learner(tmp_path)
  version = learner.version
  with pytest.raises(LockedError, match='must have one user'):
    _learner(tmp_path)
  assert snapshot.read(tmp_path / 'work', _SPEC).version == version
  learner.close()
  _learner(tmp_path)


def test_what_was_learned_before_a_damaged_file_is_saved(tmp_path):
  _discarded(tmp_path, [20, 24])
  path = files(tmp_path / 'journal')[1].path
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(JournalError, match='is damaged at byte'):
    _learner(tmp_path).follow(threading.Event(), save_every_s=99, poll_s=0.01)
  path.rename(path.with_suffix('.bad'))
  learner = _learner(tmp_path)
  assert learner.version > 1 and learner.catch_up() == 0


def test_a_bundle_of_other_networks_is_refused(tmp_path):
  (tmp_path / 'journal').mkdir()
  with pytest.raises(ValueError, match='agent.hidden_dims must be the bundle'):
    _learner(tmp_path, spec=make_spec(hidden_dims=(8, 8)))


def test_an_episode_of_another_bundle_is_not_learned(tmp_path):
  _discarded(tmp_path, [20], bundle='one')
  _discarded(tmp_path, [31])  # of an older version
  _discarded(tmp_path, [24], bundle='two')
  learner = _learner(tmp_path, bundle='one')
  with pytest.raises(JournalError, match='Episode 2 must be of .* bundle one'):
    learner.follow(threading.Event(), save_every_s=99, poll_s=0.01)
  assert [row['dropped_steps'] for row in _log(tmp_path)] == [20, 31]
  assert snapshot.read(tmp_path / 'work', _SPEC).bundle == 'one'
  # What was learned before is saved, and goes on with its own bundle only.
  with pytest.raises(ValueError, match='must be the one that .*, one: two'):
    _learner(tmp_path, bundle='two')
  _learner(tmp_path, bundle='one').close()
  # Neither a checkpoint nor a bundle of an older version has a digest.
  folder = tmp_path / 'work' / 'checkpoints' / '0' / 'meta.json'
  meta = json.loads(folder.read_text())
  assert meta.pop('bundle') == 'one'
  folder.write_text(json.dumps(meta))
  learner = _learner(tmp_path, bundle='two')
  assert learner.catch_up() == 1


def test_a_practiced_bundle_goes_on_with_the_agent_of_its_run(tmp_path):
  _episodes(tmp_path / 'journal', [20, 31])
  first = _learner(tmp_path, 'first')
  first.catch_up()
  first.save()
  first.close()
  practiced = dataclasses.replace(_SPEC, run={'env_steps': 51})
  layers = snapshot.read(tmp_path / 'first', _SPEC).layers
  given = {'spec': practiced, 'layers': layers, 'start': tmp_path / 'first'}
  second = _learner(tmp_path, 'second', **given)
  second.close()
  found = snapshot.read(tmp_path / 'second', _SPEC)
  assert found.critic_updates > 0  # the optimizers and critics go on, too
  for x, y in zip(found.layers, layers, strict=True):
    np.testing.assert_array_equal(x, y)
  for changes, rule in (
    ({'start': ''}, 'begins with an untrained actor .* of 51 control steps'),
    ({'layers': [x + 1 for x in layers]}, 'newest checkpoint of --start, 51'),
  ):
    with pytest.raises(ValueError, match=rule):
      _learner(tmp_path, 'third', **(given | changes))
  config = config_lib.override(_CONFIG, ['agent.beta=0.5'])
  with pytest.raises(ValueError, match='agent.beta must be that of .*: 0.5'):
    _learner(tmp_path, 'third', **given, config=config)
  assert not (tmp_path / 'third').exists()


@pytest.mark.parametrize(
  'setting, message',
  [
    ('replay_stride=1', "replay_stride must be the bundle's 2: 1"),
    ('gamma=0.9', "gamma must be the bundle's 0.99: 0.9"),
    ('intervention_reference=vla', "reference must be the bundle's human: vla"),
    ('token_ablation=zeros', "token_ablation must be none .*: 'zeros'"),
    ('reference_fault=bias', "reference_fault must be none .*: 'bias'"),
    ('human.help_minutes=1', 'must be 0 for an arm, .* helps: 0, 1.0'),
    ('agent.exploration_std=0.1', "exploration_std must be the bundle's 0.3"),
    (
      'agent.exploration_noise=per_step',
      "noise must be the bundle's per_chunk",
    ),
  ],
)
def test_a_setting_that_differs_from_the_bundle_is_refused(
  tmp_path, setting, message
):
  (tmp_path / 'journal').mkdir()
  config = config_lib.override(_CONFIG, [setting])
  with pytest.raises(ValueError, match=message):
    _learner(tmp_path, config=config)


def test_a_workdir_of_another_vla_is_refused(tmp_path):
  _discarded(tmp_path, [20])
  learner = _learner(tmp_path)
  learner.catch_up()
  learner.save()
  learner.close()
  with pytest.raises(ValueError, match='fingerprints.vla'):
    _learner(tmp_path, spec=make_spec(vla_fingerprint='other'))
