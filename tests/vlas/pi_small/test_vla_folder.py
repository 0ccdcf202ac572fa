import dataclasses
import json

import numpy as np
import pytest

from rlt_jax.demo_files import TaskFacts
from rlt_jax.training import assets
from rlt_jax.vlas.pi_small import pi_vla, tokenizer, train, vla_folder
from rlt_jax.vlas.pi_small.objective import LossConfig
from tests.vlas import shards, sittings

_TASK = TaskFacts('plug', 'insert', (), ('lift it',), ('a', 'b', 'c', 'd'))


def _folder(path, **changes):
  fields = {
    'folder': path,
    'start': '',
    'train': train.TrainConfig(steps=2, batch_size=8, log_every=1),
    'loss': LossConfig(draws=1),
    'command': ['python', 'x'],
  }
  return vla_folder.VlaFolder(**(fields | changes))


@pytest.fixture
def loaded(monkeypatch, config, demos, tmp_path):
  """Makes small demonstrations in data/ and gives small sizes to `run`."""
  sizes = dataclasses.replace(config, vocabulary=tokenizer.VOCABULARY)
  monkeypatch.setattr(vla_folder, 'PiConfig', lambda **sizes_of_a_file: sizes)
  monkeypatch.chdir(tmp_path)
  for name in 'ab':
    (tmp_path / 'data' / name).mkdir(parents=True)
    rows = np.arange(120) + 120 * (name == 'b')
    task = np.array(_TASK.to_json())
    shards.write(tmp_path / 'data' / name / '0.npz', demos, rows, task=task)


def test_a_training_leaves_a_vla_its_metrics_and_a_card(
  loaded, demos, tmp_path
):
  vla = _folder(tmp_path / 'vla').run('data')
  saved = pi_vla.load(tmp_path / 'vla')
  assert saved.spec == vla.spec and saved.spec.state == 'proprio'
  (task,), norm = saved.tasks, saved.params['norm']
  assert task.instructions() == ('insert', 'lift it')
  ((names, mean, _),) = task.proprio
  assert names == _TASK.proprio_names
  np.testing.assert_allclose(mean, norm.proprio_mean, rtol=1e-6)
  assert saved.for_task(_TASK) is saved
  assert saved.spec.joint_names == demos.joint_names
  assert saved.spec.control_hz == demos.control_hz
  lines = (tmp_path / 'vla' / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [1, 2, 2]
  card = (tmp_path / 'vla' / 'MODEL_CARD.md').read_text()
  assert 'Started from: scratch' in card and '24 demonstrations' in card
  assert '2 steps of 8 frames' in card
  assert '`insert`, `lift it`' in card


def test_a_part_goes_on_from_a_folder(loaded, tmp_path):
  first = _folder(tmp_path / 'a').run('data')
  config = train.TrainConfig(steps=1, batch_size=8, part='expert')
  second = _folder(tmp_path / 'b', start=str(tmp_path / 'a'), train=config).run(
    'data'
  )
  for x, y in zip(first.params['norm'], second.params['norm'], strict=True):
    np.testing.assert_array_equal(x, y)
  card = (tmp_path / 'b' / 'MODEL_CARD.md').read_text()
  assert f'Started from: {tmp_path / "a"}' in card


def test_how_the_demonstrations_ended_is_kept_with_the_vla(loaded, tmp_path):
  for name, steps in (('a', [30, 40]), ('b', [50])):
    folder = tmp_path / 'data' / name
    table = {'outcome': [1] * len(steps), 'steps': steps, 'command': name}
    (folder / 'demos.json').write_text(json.dumps(table))
  vla = tmp_path / 'vla'
  _folder(vla).run(str(tmp_path / 'data'))
  kept = json.loads((vla / 'demos.json').read_text())
  assert kept == {'outcome': [1] * 3, 'steps': [30, 40, 50], 'command': 'a; b'}
  # A report of practice with this VLA finds it.
  found = assets.demonstrations('', f'pi_small:{vla}')
  assert found.steps.tolist() == [30, 40, 50]
  assert found.success.all()


def test_demonstrations_of_unknown_ending_leave_no_file(loaded, tmp_path):
  table = {'outcome': [1], 'steps': [30]}
  (tmp_path / 'data' / 'a' / 'demos.json').write_text(json.dumps(table))
  _folder(tmp_path / 'vla').run(str(tmp_path / 'data'))
  assert not (tmp_path / 'vla' / 'demos.json').exists()
  assert assets.demonstrations('', f'pi_small:{tmp_path / "vla"}') is None
  (tmp_path / 'data' / 'b' / 'demos.json').write_text('{"outcome": [1]}')
  with pytest.raises(ValueError, match="must hold lists 'outcome' and 'steps'"):
    _folder(tmp_path / 'other').run(str(tmp_path / 'data'))


def test_a_folder_in_use_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='must be a new or an empty one'):
    _folder(tmp_path).run('data')


def files_of(folder):
  """Returns the files of a VLA by name, without clocks."""
  record = json.loads((folder / 'vla.json').read_text())
  del record['metrics']['train_s']
  rows = [
    {k: v for k, v in json.loads(line).items() if not k.endswith('_s')}
    for line in (folder / 'metrics.jsonl').read_text().splitlines()
  ]
  return record, rows, (folder / 'vla.safetensors').read_bytes()


def test_a_killed_training_ends_as_an_unbroken_one(loaded, tmp_path):
  _folder(tmp_path / 'begun').run('data')
  config = train.TrainConfig(
    steps=6, batch_size=8, log_every=1, part='expert', save_every_s=1e-9
  )
  more = {'train': config, 'start': str(tmp_path / 'begun')}
  _folder(tmp_path / 'whole', **more).run('data')
  folder = tmp_path / 'killed'
  for last_step, first_step in ((3, 0), (5, 2), (None, 2)):
    sitting = sittings.Sitting(
      folder, resume=last_step != 3, last_step=last_step, kept=(0, 2)
    )
    if last_step is None:
      _folder(folder, **more).run('data', sitting)
    else:
      with pytest.raises(sittings.StoppedError):
        _folder(folder, **more).run('data', sitting)
    assert sitting.first_step == first_step
  assert 'Continues after step 2.' in sitting.lines
  assert files_of(folder) == files_of(tmp_path / 'whole')


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'batch_size': 9}, r'settings\.train\.batch_size, expected 9, found 8'),
    ({'seed': 1}, r'settings\.train\.seed'),
    ({'part': 'prefix'}, r'settings\.train\.part'),
  ],
)
def test_a_resumed_training_keeps_its_settings(
  loaded, tmp_path, changes, message
):
  config = train.TrainConfig(steps=2, batch_size=8)
  with pytest.raises(sittings.StoppedError):
    _folder(tmp_path / 'a', train=config).run(
      'data', sittings.Sitting(tmp_path / 'a', resume=False, last_step=1)
    )
  sitting = sittings.Sitting(tmp_path / 'a', resume=True)
  other = dataclasses.replace(config, **changes)
  with pytest.raises(ValueError, match=message):
    _folder(tmp_path / 'a', train=other).run('data', sitting)
  (tmp_path / 'data' / 'a' / '0.npz').rename(tmp_path / 'data' / 'b' / '1.npz')
  with pytest.raises(ValueError, match=r'settings\.demonstrations\.sha256'):
    _folder(tmp_path / 'a', train=config).run('data', sitting)


def test_time_of_earlier_sittings_counts(loaded, tmp_path):
  config = train.TrainConfig(steps=10**6, batch_size=8, save_every_s=1e-9)
  with pytest.raises(sittings.StoppedError):
    _folder(tmp_path / 'a', train=config).run(
      'data', sittings.Sitting(tmp_path / 'a', resume=False, last_step=3)
    )
  # Less than what is spent already, and more than zero.
  short = dataclasses.replace(config, minutes=1e-6)
  sitting = sittings.Sitting(tmp_path / 'a', resume=True)
  _folder(tmp_path / 'a', train=short).run('data', sitting)
  record, _, _ = files_of(tmp_path / 'a')
  assert record['metrics']['step'] == 2


def test_a_full_disk_on_the_way_ends_nothing(loaded, tmp_path, monkeypatch):
  _folder(tmp_path / 'whole').run('data')
  write, full = vla_folder.files.write_atomically, [True]

  def write_or_fail(path, content):
    if full[0] and path.name == 'metrics.jsonl':
      raise OSError(28, 'No space left on device')
    write(path, content)

  sitting = sittings.Sitting(tmp_path / 'a', resume=False)
  show = sitting.show

  def show_and_empty_the_disk(text):
    full[0] = not text.startswith('step 2 ')
    show(text)

  sitting.show = show_and_empty_the_disk
  monkeypatch.setattr(vla_folder.files, 'write_atomically', write_or_fail)
  _folder(tmp_path / 'a').run('data', sitting)
  assert files_of(tmp_path / 'a') == files_of(tmp_path / 'whole')
  assert any('No space left on device' in line for line in sitting.lines)


@pytest.mark.parametrize(
  'changes, part, rule',
  [
    ({'joint_names': np.array(['slide', 'turn'])}, 'all', 'needs joint_names'),
    ({'control_hz': np.array(20.0)}, 'all', 'needs control_hz 10.0: 20.0'),
    ({'action_scale': np.array([0.1, 0.3])}, 'expert', 'needs action_scale'),
    ({'action_scale': np.array([0.1, 0.3])}, 'all', None),
  ],
)
def test_demonstrations_of_other_actions_than_those_of_the_start(
  loaded, demos, tmp_path, changes, part, rule
):
  _folder(tmp_path / 'begun').run('data')
  shards.write(tmp_path / 'other.npz', demos, **changes)
  config = train.TrainConfig(steps=1, batch_size=8, part=part)
  run = _folder(tmp_path / 'b', start=str(tmp_path / 'begun'), train=config)
  if rule is None:
    run.run('other.npz')
    return
  with pytest.raises(ValueError, match=f'{rule}.*See --like'):
    run.run('other.npz')
  assert not (tmp_path / 'b').exists()


def test_nothing_is_written_before_the_demonstrations_are_checked(
  loaded, config, demos, tmp_path
):
  shards.write(tmp_path / 'long.npz', demos, chunk=np.zeros((240, 9, 2), 'f4'))
  with pytest.raises(ValueError, match='chunk must be float32'):
    _folder(tmp_path / 'a').run('long.npz')
  many = train.TrainConfig(steps=1, batch_size=1000)
  with pytest.raises(ValueError, match='at most the 230 frames.*: 1000'):
    _folder(tmp_path / 'a', train=many).run('data')
  assert not (tmp_path / 'a').exists()


def test_an_expert_alone_needs_a_start(tmp_path):
  config = train.TrainConfig(part='expert')
  with pytest.raises(ValueError, match="--start.*'expert', start None"):
    _folder(tmp_path / 'new', train=config).run('data')
