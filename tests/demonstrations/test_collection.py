"""An interrupted collection, its folder, and worlds that diverge."""

import dataclasses
import json
import signal
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import demo_files, signals
from rlt_jax.demonstrations import collect, collection, writer
from tests.demonstrations import point_demo_task, test_collect
from tests.demonstrations.test_collect import collect_into, read


class KilledError(Exception):
  """Stands for a kill: nothing of the process goes on."""


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp('demos') / 'whole'
  collect_into(folder, episodes=12)
  return folder


def contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('moment', ['in a shard', 'after a shard'])
def test_an_interrupted_collection_ends_as_an_unbroken_one(
  whole, tmp_path, monkeypatch, moment
):
  folder = tmp_path / 'a'
  save, add = writer.save_shard, collection.Collection.add

  def save_half(path, *arguments, **more):
    if path.name == 'shard_001.npz' and moment == 'in a shard':
      path.with_name(path.name + '.partial').write_bytes(b'half')
      raise KilledError
    save(path, *arguments, **more)

  def fail_to_add(self, shard, **entry):
    if shard == 1 and moment == 'after a shard':
      raise KilledError
    add(self, shard, **entry)

  with monkeypatch.context() as patch:
    patch.setattr(writer, 'save_shard', save_half)
    patch.setattr(collection.Collection, 'add', fail_to_add)
    with pytest.raises(KilledError):
      collect_into(folder, episodes=12)
  assert json.loads((folder / 'demos.json').read_text())['shards'] == [4]
  collect_into(folder, episodes=12, resume=True)
  assert contents(folder) == contents(whole)


def test_a_signal_gives_up_the_shard_in_hand_at_once(whole, tmp_path):
  task, goes_on, made = point_demo_task.make(), threading.Event(), []
  expert = collect.make_expert(task, ())
  config = dataclasses.replace(test_collect._CONFIG, episodes=12)
  collector = collect.Collector(task, expert, config)
  demonstrate = collector._demonstrate

  def demonstrate_and_stop(*arguments):
    if made:
      signal.raise_signal(signal.SIGTERM)
      goes_on.wait(60.0)  # it may be compiling
    made.append(demonstrate(*arguments))
    return made[-1]

  collector._demonstrate = demonstrate_and_stop
  folder = tmp_path / 'a'
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    collector.run(folder, command='made')
  assert len(made) == 1
  goes_on.set()
  assert json.loads((folder / 'demos.json').read_text())['shards'] == [4]
  collect_into(folder, episodes=12, resume=True)
  assert contents(folder) == contents(whole)


def test_a_shard_that_was_removed_is_made_again(whole, tmp_path):
  folder = tmp_path / 'a'
  collect_into(folder, episodes=12)
  for name in ('shard_000.npz', 'shard_002.npz'):
    (folder / name).unlink()
  _, lines = collect_into(folder, episodes=12, resume=True)
  assert contents(folder) == contents(whole)
  assert lines[0] == 'Compiling; then 2 of 3 shards to make.'
  assert collect_into(folder, episodes=12, resume=True)[1] == []


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'seed': 1}, r'collect\.seed was 0 and is now 1'),
    ({'episodes': 16}, r'collect\.episodes was 12 and is now 16'),
  ],
)
def test_a_resumed_collection_keeps_its_settings(whole, changes, message):
  before = contents(whole)
  with pytest.raises(ValueError, match=message):
    collect_into(whole, resume=True, **{'episodes': 12, **changes})
  assert contents(whole) == before


def test_a_folder_in_use_is_left_alone(whole, tmp_path):
  before = contents(whole)
  with pytest.raises(ValueError, match='--resume continues an interrupted one'):
    collect_into(whole)
  assert contents(whole) == before
  (tmp_path / 'thesis.txt').write_text('mine')
  with pytest.raises(ValueError, match=r"holds \['thesis.txt'\]"):
    collect_into(tmp_path)
  with pytest.raises(ValueError, match='must not be a file'):
    collect_into(tmp_path / 'thesis.txt')


@pytest.mark.parametrize(
  'text, message',
  [
    (None, 'holds no demos.json with its settings'),
    ('{"outcome": [], "steps": []}', 'holds no demos.json with its settings'),
    ('{"outcome": [1], "ste', 'demos.json must hold JSON'),
    ('[]', 'demos.json must hold a JSON object'),
    ('{"outcome": [1]}', "demos.json must hold lists 'outcome' and 'steps'"),
    ('{"outcome": ["a"], "steps": [1]}', "must hold lists 'outcome' and"),
  ],
)
def test_resume_needs_the_record_of_a_collection(tmp_path, text, message):
  if text is not None:
    (tmp_path / 'demos.json').write_text(text)
  for call in (
    lambda: collect_into(tmp_path, resume=True),
    lambda: collection.first_command(tmp_path),
  ):
    with pytest.raises(ValueError, match=message):
      call()


def test_a_world_that_diverges_is_left_out_and_counted(tmp_path):
  task = point_demo_task.make()

  def reset(key):
    state = task.reset(key)
    bad = key[0] % 4 == 0
    return state.replace(qpos=jnp.where(bad, jnp.nan, state.qpos))

  bad = dataclasses.replace(task, reset=reset)
  table, lines = collect_into(tmp_path / 'a', bad, episodes=16)
  assert table['diverged'] > 0
  assert len(table['outcome']) < 8 and sum(table['shards']) > 0
  assert table['diverged'] + sum(table['shards']) == 16
  assert any('diverged and left out' in line for line in lines)
  for shard in read(tmp_path / 'a'):
    for name in ('proprio', 'chunk', 'remaining_motion', 'action_scale'):
      assert np.isfinite(shard[name]).all(), name


def test_a_lock_alone_leaves_a_folder_new(tmp_path):
  (tmp_path / 'lock').touch()
  collection.check_new(tmp_path)
  (tmp_path / 'a.npz').touch()
  assert demo_files.find(tmp_path).others == []
  with pytest.raises(ValueError, match='in one that is writable: /proc/a'):
    collection.check_new('/proc/a')
