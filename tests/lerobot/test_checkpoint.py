"""Checkpoints that LeRobot would load, and that are refused."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from rlt_jax.lerobot import checkpoint, serving
from tests.lerobot.test_joint_table import FACTS

_CONFIG = {'type': 'smolvla', 'n_obs_steps': 1, 'rtc_config': None}


def _write(folder, config=None, without=()):
  folder.mkdir(exist_ok=True)
  names = (checkpoint.CONFIG, checkpoint.WEIGHTS, *checkpoint.PROCESSORS)
  for name in names:
    if name not in without:
      (folder / name).write_text('{}')
  if checkpoint.CONFIG not in without:
    text = json.dumps(_CONFIG | (config or {}))
    (folder / checkpoint.CONFIG).write_text(text)
  return folder


def test_a_whole_folder_passes(tmp_path):
  found = checkpoint.check_files(_write(tmp_path))
  assert found['type'] == 'smolvla'
  with pytest.raises(ValueError, match='in an environment with LeRobot'):
    serving.open_vla(str(tmp_path), FACTS)


@pytest.mark.parametrize(
  'name', [checkpoint.WEIGHTS, *checkpoint.PROCESSORS, checkpoint.CONFIG]
)
def test_a_missing_file_is_named(tmp_path, name):
  _write(tmp_path, without=[name])
  with pytest.raises(ValueError, match=f'no {name} in'):
    checkpoint.check_files(tmp_path)
  (tmp_path / 'pretrained_model').mkdir()
  with pytest.raises(ValueError, match='Did you mean .*/pretrained_model'):
    checkpoint.check_files(tmp_path)


@pytest.mark.parametrize(
  'config, rule',
  [
    ({'n_obs_steps': 2}, 'n_obs_steps .* must be 1: .*: 2'),
    ({'rtc_config': {'enabled': True}}, 'rtc_config .* must be absent'),
    ({'use_peft': True}, 'use_peft .* must be false: merge'),
    ({'add_image_special_tokens': True}, 'would stand between the cameras'),
  ],
)
def test_settings_are_refused_by_name(tmp_path, config, rule):
  with pytest.raises(ValueError, match=rule):
    checkpoint.check_files(_write(tmp_path, config))


def test_an_adapter_is_refused(tmp_path):
  (_write(tmp_path) / 'adapter_config.json').write_text('{}')
  with pytest.raises(ValueError, match='merge it into the policy'):
    checkpoint.check_files(tmp_path)


def _step(mode, stats, size=2):
  feature = SimpleNamespace(type='ACTION', shape=(size,))
  return SimpleNamespace(
    norm_map={'ACTION': SimpleNamespace(value=mode)},
    features={'action': feature},
    stats={'action': stats} if stats else None,
  )


def test_statistics_must_be_there_and_fit():
  good = {'mean': np.zeros(2), 'std': np.ones(2)}
  check = checkpoint.check_statistics
  check([_step('MEAN_STD', good)], 'postprocessor', {'action': 2})
  check([_step('IDENTITY', {})], 'postprocessor', {'action': 2})
  for mode, stats, rule in (
    ('MEAN_STD', {}, r"statistics \['mean', 'std'\] of action: no mean"),
    ('QUANTILES', good, r"\['q01', 'q99'\] of action: no q01"),
    ('MEAN_STD', good | {'std': np.ones(3)}, 'std of action .* 2 finite'),
    ('MEAN_STD', good | {'mean': [np.nan, 0]}, 'mean of action .* 2 finite'),
  ):
    with pytest.raises(ValueError, match=rule):
      check([_step(mode, stats)], 'postprocessor', {'action': 2})
  with pytest.raises(ValueError, match='must have a step that normalizes'):
    check([SimpleNamespace()], 'postprocessor', {'action': 2})


@pytest.mark.parametrize(
  'module', ['rlt_jax.lerobot.serving', 'experiments.serve_lerobot']
)
def test_nothing_of_jax_or_torch_is_imported(module):
  code = (
    f'import sys, {module}, rlt_jax.serving.answering; '
    'banned = {"jax", "flax", "chex", "mujoco", "torch", "lerobot"}; '
    'print(sorted(banned & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
