"""The learner of an arm, started as a user starts it."""

import dataclasses
import json
import subprocess
import sys

from safetensors.numpy import save_file

from rlt_jax.robot.policy import bundle
from tests.robot.conftest import make_layers, make_spec

# The settings with which the test's bundle was exported, but for the stride.
_SETTINGS = (
  'chunk_size=4',
  'agent.hidden_dims=16,16',
  'agent.frozen_action_dims=1',
  'agent.exploration_std=0.3',
)


def _write_bundle(folder):
  folder.mkdir()
  layers = make_layers(make_spec())
  weights = folder / bundle.WEIGHTS
  save_file({f'{i:02d}': x for i, x in enumerate(layers)}, weights)
  record = json.dumps(dataclasses.asdict(make_spec()))
  (folder / bundle.RECORD).write_text(record)
  bundle.write_digests(folder)


def test_a_learner_with_another_stride_than_the_bundles_is_refused(tmp_path):
  _write_bundle(tmp_path / 'bundle')
  (tmp_path / 'journal').mkdir()
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'experiments.run_learner'),
      *(f'--{x}={tmp_path / x}' for x in ('journal', 'bundle', 'workdir')),
      *(f'--set={x}' for x in (*_SETTINGS, 'replay_stride=1')),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert "error: replay_stride must be the bundle's 2: 1." in done.stderr
  assert not (tmp_path / 'workdir').exists()
