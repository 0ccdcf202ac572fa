import json

import numpy as np
import pytest

from rlt_jax.training import assets
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import pi_vla, train, vla_folder
from rlt_jax.vlas.pi_small.objective import LossConfig


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
def loaded(monkeypatch, config, demos):
  """Gives the small demonstrations and sizes to `run`."""
  monkeypatch.setattr(vla_folder, 'PiConfig', lambda: config)
  monkeypatch.setattr(demos_lib, 'load', lambda *_: demos)


def test_a_training_leaves_a_vla_its_metrics_and_a_card(
  loaded, demos, tmp_path
):
  seen = []
  vla = _folder(tmp_path / 'vla').run('data', seen.append)
  saved = pi_vla.load(tmp_path / 'vla')
  assert saved.spec == vla.spec
  assert saved.spec.joint_names == demos.joint_names
  assert saved.spec.control_hz == demos.control_hz
  lines = (tmp_path / 'vla' / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == seen
  assert [row['step'] for row in seen] == [1, 2, 2]
  card = (tmp_path / 'vla' / 'MODEL_CARD.md').read_text()
  assert 'Started from: scratch' in card and '24 demonstrations' in card
  assert '2 steps of 8 frames' in card


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
    folder.mkdir(parents=True)
    (folder / 'shard_0.npz').touch()
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
  for name in ('a', 'b'):
    folder = tmp_path / 'data' / name
    folder.mkdir(parents=True)
    (folder / 'shard_0.npz').touch()
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


def test_an_expert_alone_needs_a_start(tmp_path):
  config = train.TrainConfig(part='expert')
  with pytest.raises(ValueError, match="'expert', start None"):
    _folder(tmp_path / 'new', train=config).run('data')
