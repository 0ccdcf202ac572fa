import dataclasses

import chex
import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.rl_token import host_memory, rl_token, stage1, token_folder, train
from rlt_jax.sitting import Sitting
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import pi_vla
from tests.giving_up import given_up
from tests.rl_token.light_teacher import LightTeacher
from tests.rl_token.test_train import MemorySitting, StoppedError
from tests.vlas.untrained import random_vla

_CONFIG = stage1.Stage1Config(
  episodes=12, steps=2, seed=1, num_layers=1, num_heads=2
)


@pytest.fixture(scope='module')
def vla(config, demos):
  return random_vla(jax.random.key(0), config, **demos.action_facts())


def test_a_streamed_token_is_the_cached_one_to_the_bit(demos, monkeypatch):
  monkeypatch.setattr(train, '_LOG_EVERY', 1)
  config = dataclasses.replace(
    _CONFIG, steps=6, batch_size=16, buffer_frames=32, frames_per_read=4,
    sample_frames=50, held_out_frames=8,
  )  # fmt: skip
  said, trained, train_token = [], [], train.train_token

  def keep(*args, **kwargs):
    trained.append(train_token(*args, **kwargs))
    return trained[-1]

  monkeypatch.setattr(train, 'train_token', keep)
  cached, streamed = (
    stage1.run(
      LightTeacher(demos),
      demos,
      dataclasses.replace(config, cache=cache),
      _Told(said),
    )
    for cache in ('memory', 'none')
  )
  assert len(trained[0].history) == 6
  assert trained[1].history == trained[0].history
  chex.assert_trees_all_equal(trained[1].params, trained[0].params)
  assert streamed.metrics == cached.metrics
  assert 'after a look at 50' in said[-2] and '8 held-out' in said[-1]


class _Told(Sitting):
  """Keeps what is said."""

  def __init__(self, said):
    self.say = said.append


def test_a_teacher_that_is_no_vla_is_enough(demos):
  teacher = LightTeacher(demos)
  unknown = demos.frames._replace(remaining_motion=None)
  said = []
  result = stage1.run(
    teacher,
    dataclasses.replace(demos, frames=unknown),
    dataclasses.replace(_CONFIG, cache='none'),
    _Told(said),
  )
  assert result.vla is None
  assert result.token.spec.vla_fingerprint == 'light'
  assert 'fve_real' in result.metrics
  assert not [name for name in result.metrics if name.startswith('probe')]
  assert 'Without probes of the remaining motion' in said[-1]
  with pytest.raises(ValueError, match='TrainableVla.: alpha is 0.5'):
    stage1.run(teacher, demos, dataclasses.replace(_CONFIG, alpha=0.5))


def test_a_killed_stream_ends_as_an_unbroken_one(demos, monkeypatch):
  monkeypatch.setattr(train, '_SAVE_EVERY_S', 1e-9)
  config = dataclasses.replace(
    _CONFIG, cache='none', steps=9, batch_size=16, buffer_frames=24
  )
  teacher = LightTeacher(demos)
  whole = stage1.run(teacher, demos, config)
  sitting = MemorySitting((0, 4), last_step=6)
  with pytest.raises(StoppedError):
    stage1.run(teacher, demos, config, sitting)
  resumed = stage1.run(teacher, demos, config, sitting)
  chex.assert_trees_all_equal(resumed.token.params, whole.token.params)
  assert resumed.metrics == whole.metrics


def test_blocks_that_do_not_fit_in_memory_are_refused_before_any_work(
  demos, tmp_path, monkeypatch
):
  table = tmp_path / 'meminfo'
  monkeypatch.setattr(host_memory, '_MEMORY', table)
  one = sum(x.nbytes for x in jax.tree.leaves(demos.frames)) // len(demos)
  teacher = LightTeacher(demos)
  monkeypatch.setattr(teacher, 'embed', lambda _: pytest.fail('begun'))
  for cache in ('memory', 'none'):
    config = dataclasses.replace(_CONFIG, cache=cache, buffer_frames=50)
    table.write_text(f'MemAvailable: {(150 * one - 1) // 1024} kB')
    with pytest.raises(ValueError, match='3 blocks of 50 frames .*; 24 would'):
      stage1.prepare(teacher, demos, config)
  # 120 frames are chosen, so that no block is larger.
  config = dataclasses.replace(_CONFIG, cache='none')
  table.write_text(f'MemAvailable: {(360 * one - 1) // 1024} kB')
  with pytest.raises(ValueError, match='3 blocks of 120 frames'):
    stage1.prepare(teacher, demos, config)


def test_a_folder_holds_token_and_card(vla, demos, tmp_path):
  result = stage1.run(vla, demos, _CONFIG)
  assert (result.episodes, result.frames) == (12, 120)
  streamed = stage1.run(vla, demos, dataclasses.replace(_CONFIG, cache='none'))
  chex.assert_trees_all_close(
    streamed.metrics, result.metrics, rtol=1e-3, atol=1e-4
  )
  folder = tmp_path / 'token'
  token_folder.check_new(folder)
  token_folder.write(folder, result, command=['python', 'x'], seed=1)
  token = rl_token.load(folder, vla_fingerprint=vla.spec.fingerprint)
  assert token.spec == result.token.spec
  card = (folder / 'MODEL_CARD.md').read_text()
  assert '12 demonstrations, 120 frames; 1 demonstrations' in card
  assert '| probe_r2_tip_z_rl |' in card
  with pytest.raises(ValueError, match='must not hold a token yet'):
    token_folder.check_new(folder)


def test_joint_training_writes_the_vla_along(vla, demos, tmp_path):
  config = dataclasses.replace(_CONFIG, alpha=0.1)
  result = stage1.run(vla, demos, config)
  assert result.vla.spec.fingerprint != vla.spec.fingerprint
  token_folder.write(tmp_path / 'token', result, command=[], seed=1)
  saved = pi_vla.load(tmp_path / 'token' / 'vla')
  assert saved.spec == result.vla.spec
  rl_token.load(tmp_path / 'token', vla_fingerprint=saved.spec.fingerprint)


def test_joint_training_needs_a_vla_with_a_loss(demos):
  toy = vlas.load('tests.vlas.toy_vla:make')
  with pytest.raises(ValueError, match='TrainableVla.: alpha is 0.5'):
    stage1.run(toy, demos, dataclasses.replace(_CONFIG, alpha=0.5))


@pytest.mark.parametrize(
  'changes, alpha, rule',
  [
    ({'joint_names': ('slide', 'turn')}, 0.0, 'have joint_names of the VLA'),
    ({'frames': {'proprio': np.zeros((240, 5), 'f4')}}, 0.0, 'proprio_dim'),
    ({'frames': {'images': 8}}, 0.0, r'images of top .*\(16, 16, 3\): \(8, 8'),
    ({'action_scale': (0.1, 0.3)}, 0.5, 'have action_scale of the VLA'),
    ({'control_hz': 20.0}, 0.5, 'have control_hz of the VLA, 10.0: 20.0'),
    ({'frames': {'episode': np.zeros(240, 'i4')}}, 0.0, 'two episodes or more'),
  ],
)
def test_demonstrations_for_another_vla_are_refused_before_any_work(
  vla, demos, monkeypatch, changes, alpha, rule
):
  monkeypatch.setattr(
    stage1.VlaTeacher, 'embed', lambda *_: pytest.fail('begun')
  )
  frames = dict(changes.get('frames', {}))
  if 'images' in frames:
    side = frames['images']
    frames['images'] = {
      name: x[:, :side, :side] for name, x in demos.frames.images.items()
    }
  changes = changes | {'frames': demos.frames._replace(**frames)}
  config = dataclasses.replace(_CONFIG, alpha=alpha)
  with pytest.raises(ValueError, match=rule):
    stage1.run(vla, dataclasses.replace(demos, **changes), config)


def test_the_unit_of_actions_does_not_matter_to_a_token_alone(vla, demos):
  other = dataclasses.replace(demos, action_scale=(0.1, 0.3), control_hz=20.0)
  demos_lib.check_fit(other, vla.spec, actions=False)


def test_damaged_files_of_a_token_are_refused_by_name(vla, demos, tmp_path):
  result = stage1.run(vla, demos, _CONFIG)
  folder = tmp_path / 'token'
  token_folder.write(folder, result, command=[], seed=1)
  whole = {path.name: path.read_bytes() for path in folder.iterdir()}
  for name, content in (
    ('token.json', b''),
    ('token.json', b'{}'),
    ('token.json', b'{"spec": {"width": 3}, "config": {}}'),
    ('token.safetensors', whole['token.safetensors'][:1000]),
    ('token.safetensors', b''),
  ):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=str(folder / name)):
      rl_token.load(folder, vla_fingerprint=vla.spec.fingerprint)
    (folder / name).write_bytes(whole[name])
  rl_token.load(folder, vla_fingerprint=vla.spec.fingerprint)


@pytest.mark.parametrize(
  'name, value',
  [('episodes', 1), ('alpha', -1.0), ('alpha', np.nan), ('read_threads', 0)],
)
def test_a_setting_is_refused_by_name(name, value):
  with pytest.raises(ValueError, match=f'{name} must be at least'):
    stage1.Stage1Config(**{name: value})


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'cache': 'disk'}, "cache must be one of .*: 'disk'"),
    ({'accumulate': 3}, 'a multiple of accumulate times devices: 32, 3'),
    (
      {'accumulate': 8, 'devices': 8},
      'accumulate times devices: 32, 8 times 8',
    ),
    ({'vla_batch': 5}, 'vla_batch must divide batch_size .*: 5 of 32'),
    ({'vla_batch': 2, 'devices': 4}, 'multiple of devices: 2 of 32, 4 dev'),
  ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, rule):
  with pytest.raises(ValueError, match=rule):
    stage1.Stage1Config(**changes)


@pytest.mark.parametrize('name', ['prepare', '_measure'])
def test_queries_of_the_vla_are_given_up_at_a_signal(demos, monkeypatch, name):
  with given_up() as compiling:
    monkeypatch.setattr(stage1, name, compiling)
    stage1.run(LightTeacher(demos), demos, _CONFIG)
