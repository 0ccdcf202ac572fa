"""Which shipped weights a task opens, and for which they are refused."""

import json
import types

import pytest

from rlt_jax import tasks
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.training import assets
from rlt_jax.training import config as config_lib
from rlt_jax.vlas.pi_small import pi_vla

# Of the weights that all published figures of Ethernet were measured with.
_FINGERPRINT = (
  '1bf688027dd7d7de8440c64158665dce837994511ccddbc4b77c566fd9633e07'
)


def _load(folder='', settings=(), **task):
  config = config_lib.make_config(settings, **task)
  spec = tasks.load(config.task_name, config.task).spec
  return assets.load(folder, config, spec)


def test_ethernet_opens_the_weights_of_the_figures():
  vla, token, _ = _load()
  assert vla.spec.fingerprint == token.spec.vla_fingerprint == _FINGERPRINT
  tighter = tasks.load('ethernet', EthernetConfig(clearance_mm=0.15)).spec
  assert vla.for_task(tighter) is vla


@pytest.mark.parametrize('task', ['charger', 'screw', 'zip_tie'])
def test_the_other_tasks_share_weights_and_a_token(task):
  vla, token, metrics = _load(task=task)
  assert token.spec.vla_fingerprint == vla.spec.fingerprint
  assert [known.name.partition('-')[0] for known in vla.vla.tasks] == [
    'ethernet', 'charger', 'screw', 'zip_tie'
  ]  # fmt: skip
  assert metrics[f'{tasks.load(task).spec.name}/fve_real'] > 0.4
  # An arm measures joints, whatever the paper's task does.
  joints = _load(task=task, settings=['task.proprio=joints'])[0]
  assert joints.spec.proprio_dim == 28
  assert (
    assets.demonstrations('', 'pi_small', tasks.load(task).spec) is not None
  )


def test_weights_of_ethernet_are_refused_for_another_task():
  with pytest.raises(
    ValueError,
    match="'plug the charger into the outlet' of charger-0.50mm: it knows "
    'ethernet-0.30mm .*--vla= or --assets=',
  ):
    _load(task='charger', vla=f'pi_small:{pi_vla.shipped_folder()}')


def test_weights_are_refused_where_other_numbers_are_measured():
  config = EthernetConfig(proprio='end_effector')
  spec = tasks.load('ethernet', config).spec
  with pytest.raises(
    ValueError, match=r"'right_x.pos'.*knows those of \['right_j1.pos'"
  ):
    pi_vla.open_vla().for_task(spec)


def test_of_shipped_weights_those_of_the_fewest_tasks_are_taken(
  tmp_path, monkeypatch
):
  known = {'all': ('insert', 'plug in', 'tie'), 'pair': ('tie', 'plug in')}
  known |= {'ethernet': ('insert',), 'old': ()}
  for name, texts in known.items():
    folder = tmp_path / 'assets' / name
    folder.mkdir(parents=True)
    rows = [{'name': text, 'instruction': text} for text in texts]
    (folder / 'vla.json').write_text(json.dumps({'tasks': rows}))
  monkeypatch.setattr(
    pi_vla.importlib.resources, 'files', lambda package: tmp_path
  )
  for text, name in (('insert', 'ethernet'), ('tie', 'pair')):
    spec = types.SimpleNamespace(instruction=text, name=text)
    assert pi_vla.shipped_folder(spec).name == name
  spec = types.SimpleNamespace(instruction='drive', name='screw')
  with pytest.raises(ValueError, match="'drive' of screw: it knows insert"):
    pi_vla.shipped_folder(spec)
