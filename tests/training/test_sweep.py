"""A seed of a sweep gives the result of its own run."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from rlt_jax.agents.imitation.config import ImitationConfig
from rlt_jax.export import checkpoint
from rlt_jax.reporting import metrics
from rlt_jax.training import loop, sweep
from tests.training.sweep_worker import CONFIG, SEEDS

_ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures('dark')  # as in the worker


def _sweep(workdir, assets, **kwargs):
  kwargs = {'seeds': SEEDS, 'config': CONFIG} | kwargs
  return sweep.Sweep(workdir=workdir, assets=str(assets), **kwargs)


@pytest.fixture(scope='module')
def swept(tmp_path_factory, assets, dark):
  run = _sweep(tmp_path_factory.mktemp('runs') / 'a', assets)
  run.practice()
  return run


@pytest.fixture
def traced_once(swept, monkeypatch):
  """Other sweeps take over the pure parts: tracing them takes the time."""
  first = swept.runs[0]
  for module, name, built in (
    (sweep.setup_lib, 'make', first.shared.setup),
    (sweep.setup_lib, 'make_evaluator', first.shared.evaluator),
    (sweep.multi_seed_lib, 'MultiSeed', swept.loop),
  ):
    monkeypatch.setattr(module, name, lambda *_, built=built: built)


def _states(run):
  return run.loop.split(run.state)


def _rms(tree, other):
  parts = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
  apart = [(np.asarray(x) - np.asarray(y)).ravel() for x, y in parts]
  return float(np.sqrt(np.mean(np.concatenate(apart) ** 2)))


def _check_same(found, expected):
  """Counts must be equal; Adam makes steps of roundings, so not each weight."""
  for name in ('env_steps', 'outcome', 'length'):
    np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
  assert found.learner.rows == expected.learner.rows
  assert found.learner.pending_updates == expected.learner.pending_updates
  rewards = [x.learner.replay.rows.reward for x in (found, expected)]
  np.testing.assert_allclose(*rewards, atol=1e-5)
  # Two seeds are 0.05 apart, and 0.005 rad.
  assert _rms(found.policy, expected.policy) < 2e-3
  worlds = [x.actors.env_states.qpos for x in (found, expected)]
  assert _rms(*worlds) < 1e-3


def test_a_seed_ends_where_a_run_of_its_own_does(swept):
  setup = swept.runs[1].shared.setup
  config = dataclasses.replace(CONFIG, seed=SEEDS[1])
  alone = loop.Practice(
    setup.rollout_fns, setup.perception, setup.agent, config
  )
  state = alone.run(alone.init(), config.num_env_steps, lambda *_: None)
  _check_same(_states(swept)[1], state)


def test_every_seed_learns_at_the_stated_ratio(swept):
  for state in _states(swept):
    assert 0 <= state.env_steps - CONFIG.num_env_steps < 2 * CONFIG.chunk_size
    num_updates = int(state.learner.agent.critic_updates)
    assert num_updates > 0
    assert (
      num_updates + state.learner.pending_updates
      == CONFIG.utd_ratio * state.learner.rows
    )
  one, other = _states(swept)
  assert not np.allclose(
    one.actors.env_states.qpos, other.actors.env_states.qpos
  )


def test_the_folders_are_those_of_runs(swept):
  swept.report()
  assert swept.updates_per_s() > 0
  folders = [swept.workdir / f'seed-{seed}' for seed in SEEDS]
  for seed, folder in zip(SEEDS, folders, strict=True):
    assert json.loads((folder / 'config.json').read_text())['seed'] == seed
    rows = metrics.read_metrics(folder)
    assert {name for row in rows for name in row} <= metrics.METRICS.keys()
    steps = [row['env_steps'] for row in rows]
    assert steps == sorted(set(steps))
  common = (swept.workdir / 'report.md').read_text()
  assert f'| {len(SEEDS)} seeds | base |' in common
  out = swept.workdir / 'pooled.json'
  # In a process of its own: the modules' flags share one namespace.
  subprocess.run(
    [
      sys.executable,
      '-m',
      'experiments.summarize',
      f'--out={out}',
      f'full={",".join(str(folder) for folder in folders)}',
    ],
    cwd=_ROOT,
    check=True,
  )
  (pooled,) = json.loads(out.read_text())
  assert pooled['seeds'] == 2
  end = f'@{CONFIG.minutes(CONFIG.num_env_steps):g}'
  assert pooled['points'].keys() == {'base', f'mean{end}', f'exploring{end}'}
  trials = 2 * CONFIG.num_final_episodes
  assert pooled['points'][f'mean{end}']['episodes'] == trials


def test_a_resumed_sweep_ends_where_the_unbroken_one_does(
  tmp_path, swept, assets, traced_once
):
  broken = _sweep(tmp_path / 'b', assets)
  on_round = broken._on_round

  def die(state, metrics):
    on_round(state, metrics)
    if state.env_steps.min() >= 140:
      raise RuntimeError('power cut')

  broken._on_round = die
  with pytest.raises(RuntimeError, match='power cut'):
    broken.practice()
  broken.close()
  resumed = _sweep(tmp_path / 'b', assets, resume=True)
  assert 90 <= resumed.state.env_steps.min() < 140
  resumed.practice()
  chex.assert_trees_all_equal(resumed.state, swept.state)
  for ours, theirs in zip(resumed.runs, swept.runs, strict=True):
    found, wanted = dict(ours.record.data), dict(theirs.record.data)
    assert found.pop('seconds').keys() == wanted.pop('seconds').keys()
    assert found == wanted


def test_a_seed_that_has_no_checkpoint_yet_begins_again(
  tmp_path, swept, assets, traced_once, capsys
):
  shutil.copytree(swept.workdir / 'seed-0', tmp_path / 'c' / 'seed-0')
  (tmp_path / 'c' / 'seed-1').mkdir()
  config = swept.workdir / 'seed-1' / 'config.json'
  shutil.copy(config, tmp_path / 'c' / 'seed-1')
  with pytest.raises(ValueError, match='needs a checkpoint .*seed-2 has none'):
    _sweep(tmp_path / 'c', assets, seeds=(0, 2), resume=True)
  resumed = _sweep(tmp_path / 'c', assets, resume=True)
  assert 'seed 1: There is no checkpoint yet' in capsys.readouterr().out
  resumed.practice()
  chex.assert_trees_all_equal(resumed.state, swept.state)


def test_another_agent_is_swept(tmp_path, swept, assets, monkeypatch):
  setup = swept.runs[0].shared.setup
  imitation = ImitationConfig(hidden_dims=(16,), batch_size=16)
  config = dataclasses.replace(CONFIG, agent_name='imitation', agent=imitation)
  agent = sweep.setup_lib.make_agent(config, setup.perception)
  other = setup._replace(agent=agent)
  monkeypatch.setattr(sweep.setup_lib, 'make', lambda *_: other)
  several = _sweep(tmp_path / 's', assets, config=config)
  several.practice()
  for seed in SEEDS:
    rows = metrics.read_metrics(tmp_path / 's' / f'seed-{seed}')
    assert rows[-1]['critic_updates'] > 0 and rows[-1]['finite'] == 1.0


@pytest.mark.skipif(
  'RLT_JAX_SLOW' not in os.environ,
  reason='RLT_JAX_SLOW=1 runs it: a sweep compiled for two devices',
)
def test_two_devices_give_what_one_gives_and_one_reads_their_checkpoints(
  tmp_path, swept, assets, traced_once
):
  flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=2'
  subprocess.run(
    [
      *(sys.executable, '-m', 'tests.training.sweep_worker'),
      *(str(assets), str(tmp_path / 'c'), '2'),
    ],
    cwd=_ROOT,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    check=True,
    timeout=1200,
  )
  found = _sweep(tmp_path / 'c', assets, resume=True)
  for ours, theirs in zip(_states(found), _states(swept), strict=True):
    _check_same(ours, theirs)


def test_a_seed_may_be_in_another_round(swept):
  early = swept.loop.split(swept.loop.init())[0]
  late = _states(swept)[1]
  both = swept.loop.join([early, late])
  steps = []
  after = swept.loop.run(
    both, lambda state, metrics: steps.append([m is None for m in metrics])
  )
  assert all(done == [False, True] for done in steps)
  one, other = swept.loop.split(after)
  chex.assert_trees_all_equal(other, late)
  chex.assert_trees_all_equal(one, _states(swept)[0])


def test_a_seed_can_be_gone_on_with_alone(swept):
  like = _states(swept)[0]
  restored = checkpoint.restore(swept.workdir / 'seed-0', like)
  assert restored.env_steps == like.env_steps
  chex.assert_trees_all_equal(restored.state, like)
  assert isinstance(restored.state, loop.PracticeState)
  assert isinstance(restored.state.learner.pending_updates, int)
  assert isinstance(jax.tree.leaves(restored.state.policy)[0], np.ndarray)


@pytest.mark.parametrize(
  'kwargs, message',
  [
    ({'seeds': ()}, r'seeds must be one or more, none twice: \[\]'),
    ({'seeds': (3, 3)}, r'none twice: \[3, 3\]'),
    ({'devices': 3}, 'devices must divide the 2 seeds: 3'),
    ({'devices': 0}, 'devices must divide the 2 seeds: 0'),
    ({'resume': True}, 'needs a checkpoint to be .*resumed: .*seed-0 has'),
  ],
)
def test_what_does_not_fit_is_refused(tmp_path, assets, kwargs, message):
  with pytest.raises(ValueError, match=message):
    _sweep(tmp_path, assets, **kwargs)


def test_a_seed_that_exists_is_refused_and_new_ones_are_not(swept, assets):
  with pytest.raises(ValueError, match='must be new .*seed-1'):
    _sweep(swept.workdir, assets, seeds=(2, 1))
  _sweep(swept.workdir, assets, seeds=(2, 3))
