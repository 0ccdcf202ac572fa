import dataclasses
import pathlib
import sys

import pytest

from rlt_jax.robot import local_cell

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
