"""A seed of a sweep is what a run of its own would be."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from experiments import summarize
from rlt_jax.rollout import session, sweep
from tests.rollout.sweep_worker import SEEDS

_ROOT = pathlib.Path(__file__).parents[2]


def _sweep(workdir, config, assets, **kwargs):
  kwargs = {'seeds': SEEDS} | kwargs
  return sweep.Sweep(
    workdir=workdir, config=config, assets=str(assets), **kwargs
  )


@pytest.fixture(scope='module')
def swept(tmp_path_factory, config, assets):
  run = _sweep(tmp_path_factory.mktemp('runs') / 'a', config, assets)
  run.practise()
  return run


def _states(run):
  return run._practice.split(run.state)


def _check_same(found, expected, atol):
  """Counts and ends must be equal, numbers close."""
  assert found.robot_steps == expected.robot_steps
  assert found.learner.rows == expected.learner.rows
  assert found.learner.owed == expected.learner.owed
  for x, y in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(np.asarray(x), np.asarray(y), atol=atol)


@pytest.mark.parametrize('index', [0, 1])
def test_a_seed_ends_where_a_run_of_its_own_does(
  tmp_path, swept, config, assets, index
):
  alone = session.Session(
    workdir=tmp_path / 'alone',
    config=dataclasses.replace(config, seed=SEEDS[index]),
    resume=False,
    assets=str(assets),
  )
  alone.practise()
  _check_same(_states(swept)[index], alone.state, 1e-3)
  ours = swept.runs[index].record.data
  assert ours['base'] == alone.record.data['base']
  assert ours.keys() == alone.record.data.keys()


def test_every_seed_learns_at_the_stated_ratio(swept, config):
  for state in _states(swept):
    assert 0 <= state.robot_steps - config.robot_steps < 2 * config.chunk
    made = int(state.learner.train.critic_steps)
    assert made > 0
    assert (
      made + state.learner.owed == config.updates_per_row * state.learner.rows
    )
  one, other = _states(swept)
  assert not np.allclose(one.robots.worlds.qpos, other.robots.worlds.qpos)


def test_the_folders_are_those_of_runs(swept, config, assets):
  swept.report()
  assert swept.updates_per_s() > 0
  folders = [swept.workdir / f'seed-{seed}' for seed in SEEDS]
  for seed, folder in zip(SEEDS, folders, strict=True):
    assert json.loads((folder / 'config.json').read_text())['seed'] == seed
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    steps = [json.loads(line)['robot_steps'] for line in lines]
    assert steps == sorted(set(steps))
  pooled = summarize.variant('full', [str(folder) for folder in folders])
  assert pooled['seeds'] == 2
  assert pooled['points'].keys() == {
    'base', 'mean@0.05', 'exploring@0.05', 'mean@0.1', 'exploring@0.1'
  }  # fmt: skip
  assert pooled['points']['mean@0.1']['episodes'] == 2 * config.final_episodes
  alone = session.Session(
    workdir=folders[1],
    config=dataclasses.replace(config, seed=SEEDS[1]),
    resume=True,
    assets=str(assets),
  )
  chex.assert_trees_all_equal(alone.state, _states(swept)[1])


def test_a_resumed_sweep_ends_where_the_unbroken_one_does(
  tmp_path, swept, config, assets
):
  broken = _sweep(tmp_path / 'b', config, assets)
  on_round = broken._on_round

  def die(state, metrics):
    on_round(state, metrics)
    if state.robot_steps.min() >= 220:
      raise RuntimeError('power cut')

  broken._on_round = die
  with pytest.raises(RuntimeError, match='power cut'):
    broken.practise()
  resumed = _sweep(tmp_path / 'b', config, assets, resume=True)
  assert 150 <= resumed.state.robot_steps.min() < 220
  resumed.practise()
  chex.assert_trees_all_equal(resumed.state, swept.state)
  for ours, theirs in zip(resumed.runs, swept.runs, strict=True):
    assert ours.record.data == theirs.record.data


def test_two_devices_give_what_one_gives_and_one_reads_their_checkpoints(
  tmp_path, swept, config, assets
):
  flags = '--xla_force_host_platform_device_count=2'
  subprocess.run(
    [
      *(sys.executable, '-m', 'tests.rollout.sweep_worker'),
      *(str(assets), str(tmp_path / 'c'), '2'),
    ],
    cwd=_ROOT,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    check=True,
    timeout=400,
  )
  found = _sweep(tmp_path / 'c', config, assets, resume=True)
  for ours, theirs in zip(_states(found), _states(swept), strict=True):
    _check_same(ours, theirs, 1e-3)


@pytest.mark.parametrize(
  'kwargs, message',
  [
    ({'seeds': ()}, r'seeds must be one or more, none twice: \[\]'),
    ({'seeds': (3, 3)}, r'none twice: \[3, 3\]'),
    ({'devices': 3}, 'devices must divide the 2 seeds: 3'),
    ({'devices': 0}, 'devices must divide the 2 seeds: 0'),
    ({'resume': True}, 'needs a checkpoint in the workdir: .*seed-0'),
  ],
)
def test_what_does_not_fit_is_refused(
  tmp_path, config, assets, kwargs, message
):
  with pytest.raises(ValueError, match=message):
    _sweep(tmp_path, config, assets, **kwargs)


def test_a_seed_that_exists_is_refused_and_new_ones_are_not(
  swept, config, assets
):
  with pytest.raises(ValueError, match='must be new .*seed-1'):
    _sweep(swept.workdir, config, assets, seeds=(2, 1))
  _sweep(swept.workdir, config, assets, seeds=(2, 3))


def test_other_settings_are_refused_by_name(swept, config, assets):
  other = dataclasses.replace(config, gamma=0.9)
  with pytest.raises(ValueError, match='gamma'):
    _sweep(swept.workdir, other, assets, resume=True)
