import dataclasses
import json
import pathlib
import sys

import pytest
from safetensors.numpy import save_file

from rlt_jax.robot import local_cell
from rlt_jax.robot.policy import bundle
from rlt_jax.robot.run_results import FILE
from tests.robot.conftest import make_layers, make_spec

_CONFIG = local_cell.CellConfig(
  workdir=pathlib.Path('.'),
  bundle='',
  inference_delay=2,
  vla='pi_small',
  assets='',
  learner=True,
  resume=False,
  port=0,
  seed=5,
  task=['--task=ethernet'],
  loop={'minutes': 1.0},
)


def test_a_workdir_that_exists_is_refused(tmp_path):
  config = dataclasses.replace(_CONFIG, workdir=tmp_path)
  with pytest.raises(ValueError, match='workdir must be new'):
    local_cell.run(config, lambda name, values: [])
  config = dataclasses.replace(config, resume=True, workdir=tmp_path / 'no')
  with pytest.raises(ValueError, match='--resume needs the folder'):
    local_cell.run(config, lambda name, values: [])


def test_without_a_bundle_an_untrained_actor_is_exported(tmp_path):
  said = tmp_path / 'arguments'

  def fail(experiment, values):
    assert experiment == 'export_policy'
    assert values['fresh'] and values['vla'] == 'pi_small'
    program = (
      f'import pathlib, sys; pathlib.Path({str(said)!r})'
      '.write_text(" ".join(sys.argv[1:])); sys.exit(3)'
    )
    return [sys.executable, '-c', program]

  config = dataclasses.replace(_CONFIG, workdir=tmp_path / 'run')
  with pytest.raises(ValueError, match='could not be exported'):
    local_cell.run(config, fail)
  settings = '--task=ethernet --set=seed=5 --set=inference_delay=2'
  assert said.read_text() == settings


def test_a_bundle_that_was_not_finished_is_exported_again(tmp_path):
  """A new folder is all that the export takes."""
  workdir = tmp_path / 'run'
  unfinished = workdir / 'bundle' / bundle.RECORD
  unfinished.parent.mkdir(parents=True)
  unfinished.write_text('{}')
  seen = []

  def fail(experiment, values):
    seen.append(pathlib.Path(values['out']).exists())
    return [sys.executable, '-c', 'raise SystemExit(3)']

  config = dataclasses.replace(_CONFIG, workdir=workdir, resume=True)
  with pytest.raises(ValueError, match='could not be exported'):
    local_cell.run(config, fail)
  assert seen == [False]
  # A run that has begun keeps its bundle, of whatever version.
  unfinished.parent.mkdir()
  (workdir / FILE).touch()
  with pytest.raises(ValueError, match='could not be exported'):
    local_cell.run(config, fail)
  assert seen == [False, True]


def test_a_learner_beside_a_practiced_actor_is_refused(tmp_path):
  folder, spec = tmp_path / 'bundle', make_spec()
  folder.mkdir()
  layers = {f'{i:02d}': x for i, x in enumerate(make_layers(spec))}
  save_file(layers, folder / bundle.WEIGHTS)
  record = dataclasses.asdict(spec) | {'run': {'env_steps': 7}}
  (folder / bundle.RECORD).write_text(json.dumps(record))
  bundle.write_digests(folder)
  config = dataclasses.replace(
    _CONFIG, workdir=tmp_path / 'run', bundle=str(folder), learner=True
  )
  with pytest.raises(ValueError, match='untrained actor.*: 7 control steps'):
    local_cell.run(config, lambda name, values: [])
  assert not (tmp_path / 'run').exists()
