"""The learner that follows a journal."""

import dataclasses
import json
import threading
import time

import numpy as np
import pytest

from rlt_jax import config as config_lib
from rlt_jax.agents.rlt import RltConfig
from rlt_jax.reporting import metrics
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal, JournalError
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.journal_learner import JournalLearner
from rlt_jax.types import Features
from tests.robot.conftest import make_spec

SPEC = make_spec()
CONFIG = PracticeConfig(
  agent=RltConfig(
    hidden_dims=(16, 16),
    frozen_action_dims=(1,),
    exploration_std=SPEC.exploration_std,
    batch_size=8,
  ),
  chunk_size=4,
  replay_stride=2,
  learning_starts=8,
  vla_warmup_steps=32,
  replay_capacity=256,
)


def write_episodes(folder, lengths, outcome='success', late=False, **meta):
  rng = np.random.default_rng(sum(lengths))
  with Journal(folder) as journal:
    log = episodes.EpisodeLog(journal, **meta)
    for num in lengths:
      log.begin(policy_version=1)
      for step in segments.observed_steps(num, CONFIG.replay_stride):
        features = Features(
          rng.normal(size=SPEC.z_dim),
          rng.normal(size=SPEC.proprio_dim),
          rng.normal(size=(SPEC.chunk_size, SPEC.action_dim)),
          rng.normal(size=SPEC.action_dim),
        )
        log.features(0, step, features, late=late)
      for _ in range(num):
        log.step(
          0,
          segments.Step(
            rng.normal(size=SPEC.action_dim),
            rng.normal(size=SPEC.action_dim),
            1,
          ),
        )
      log.end(outcome)


def make_learner(tmp_path, name='work', **changes):
  config = {'spec': SPEC, 'config': CONFIG} | changes
  return JournalLearner(
    journal=tmp_path / 'journal', workdir=tmp_path / name, **config
  )


def read_log(tmp_path, name='work'):
  lines = (tmp_path / name / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_it_learns_what_the_loop_writes_and_publishes(tmp_path):
  write_episodes(tmp_path / 'journal', [20, 31])
  learner = make_learner(tmp_path)
  first = snapshot.read(tmp_path / 'work', SPEC)
  assert first.version == 1 and first.critic_updates == 0
  assert learner.catch_up() == 2
  assert learner.catch_up() == 0
  write_episodes(tmp_path / 'journal', [24], late=True)
  assert learner.catch_up() == 1
  found = snapshot.read(tmp_path / 'work', SPEC, newer_than=first)
  assert found.version == learner.version == 4
  # 10, 16 and 12 rows start in episodes of 20, 31 and 24 steps.
  log = read_log(tmp_path)
  assert [row['rows'] for row in log] == [10, 26, 38]
  # 5 a row, in dispatches of 20.
  assert found.critic_updates == 5 * 38 // 20 * 20
  assert log[-1]['update_to_data'] == pytest.approx(180 / 38)
  assert [row['late_queries'] for row in log][1:] == [0, 12]
  moved = np.abs(found.layers[0] - first.layers[0]).max()
  assert moved > 1e-4
  chunk = NumpyPolicy(SPEC, found.layers).act(
    np.zeros(6), np.zeros(5), np.zeros((4, 3))
  )
  assert np.isfinite(chunk).all()


def test_it_follows_until_stop_is_set(tmp_path, capsys):
  write_episodes(tmp_path / 'journal', [20])
  learner, stop = make_learner(tmp_path), threading.Event()
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
  assert make_learner(tmp_path).catch_up() == 0  # it was saved


def test_metrics_have_the_keys_of_practice(tmp_path):
  write_episodes(tmp_path / 'journal', [20, 31])
  learner = make_learner(tmp_path)
  learner.catch_up()
  rows = metrics.read_metrics(tmp_path / 'work')
  assert [row['env_steps'] for row in rows] == [20, 51]
  assert {
    'rows', 'critic_updates', 'updates_per_s', 'critic_loss', 'finite'
  } <= rows[-1].keys()  # fmt: skip
  assert {name for row in rows for name in row} <= metrics.METRICS.keys()
  assert rows[-1]['pending_updates'] == 5 * 26 - rows[-1]['critic_updates']


def test_what_is_to_be_recorded_again_is_not_learned(tmp_path):
  write_episodes(tmp_path / 'journal', [20], outcome='rerecord')
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 1
  assert read_log(tmp_path)[0]['rows'] == 0


def test_an_episode_without_rows_is_said(tmp_path, capsys):
  with Journal(tmp_path / 'journal') as journal:
    log = episodes.EpisodeLog(journal)
    log.begin(policy_version=1)
    for _ in range(7):
      log.step(0, segments.Step(np.zeros(3), np.zeros(3), 1))
    log.end('success')
  learner = make_learner(tmp_path)
  assert learner.catch_up() == 1
  assert 'Episode 0 (success, 7 steps) gave no row' in capsys.readouterr().out
  assert read_log(tmp_path)[0]['dropped_steps'] == 7


def write_discarded(tmp_path, lengths, **meta):
  """Writes episodes that are read and, to compile nothing, not learned."""
  write_episodes(tmp_path / 'journal', lengths, outcome='rerecord', **meta)


def test_a_bundle_of_other_networks_is_refused(tmp_path):
  (tmp_path / 'journal').mkdir()
  with pytest.raises(ValueError, match='agent.hidden_dims must be the bundle'):
    make_learner(tmp_path, spec=make_spec(hidden_dims=(8, 8)))


def test_an_episode_of_another_bundle_is_not_learned(tmp_path):
  write_discarded(tmp_path, [20], bundle='one')
  write_discarded(tmp_path, [31])  # of an older version
  write_discarded(tmp_path, [24], bundle='two')
  learner = make_learner(tmp_path, bundle='one')
  with pytest.raises(JournalError, match='Episode 2 must be of .* bundle one'):
    learner.follow(threading.Event(), save_every_s=99, poll_s=0.01)
  assert [row['dropped_steps'] for row in read_log(tmp_path)] == [20, 31]
  assert snapshot.read(tmp_path / 'work', SPEC).bundle == 'one'
  # What was learned before is saved, and goes on with its own bundle only.
  with pytest.raises(ValueError, match='must be the one that .*, one: two'):
    make_learner(tmp_path, bundle='two')
  make_learner(tmp_path, bundle='one').close()
  # Neither a checkpoint nor a bundle of an older version has a digest.
  folder = tmp_path / 'work' / 'checkpoints' / '0' / 'meta.json'
  meta = json.loads(folder.read_text())
  assert meta.pop('bundle') == 'one'
  folder.write_text(json.dumps(meta))
  learner = make_learner(tmp_path, bundle='two')
  assert learner.catch_up() == 1


def test_a_practiced_bundle_goes_on_with_the_agent_of_its_run(tmp_path):
  write_episodes(tmp_path / 'journal', [20, 31])
  first = make_learner(tmp_path, 'first')
  first.catch_up()
  first.save()
  first.close()
  practiced = dataclasses.replace(SPEC, run={'env_steps': 51})
  layers = snapshot.read(tmp_path / 'first', SPEC).layers
  given = {'spec': practiced, 'layers': layers, 'start': tmp_path / 'first'}
  second = make_learner(tmp_path, 'second', **given)
  second.close()
  found = snapshot.read(tmp_path / 'second', SPEC)
  assert found.critic_updates > 0  # the optimizers and critics go on, too
  for x, y in zip(found.layers, layers, strict=True):
    np.testing.assert_array_equal(x, y)
  for changes, rule in (
    ({'start': ''}, 'begins with an untrained actor .* of 51 control steps'),
    ({'layers': [x + 1 for x in layers]}, 'newest checkpoint of --start, 51'),
  ):
    with pytest.raises(ValueError, match=rule):
      make_learner(tmp_path, 'third', **(given | changes))
  config = config_lib.override(CONFIG, ['agent.beta=0.5'])
  with pytest.raises(ValueError, match='agent.beta must be that of .*: 0.5'):
    make_learner(tmp_path, 'third', **given, config=config)
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
  config = config_lib.override(CONFIG, [setting])
  with pytest.raises(ValueError, match=message):
    make_learner(tmp_path, config=config)


def test_a_workdir_of_another_vla_is_refused(tmp_path):
  write_discarded(tmp_path, [20])
  learner = make_learner(tmp_path)
  learner.catch_up()
  learner.save()
  learner.close()
  with pytest.raises(ValueError, match='fingerprints.vla'):
    make_learner(tmp_path, spec=make_spec(vla_fingerprint='other'))
