"""A run on a point: its parts, what it leaves, and how it goes on."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rlt_jax import config as config_lib
from rlt_jax import tasks
from rlt_jax.finetuning import finetune_run, parts, result, training
from rlt_jax.finetuning.config import FinetuneConfig, OPERATORS
from rlt_jax.finetuning.finetune_run import FinetuneRun
from rlt_jax.reporting import pooling
from rlt_jax.rl_token import no_token
from rlt_jax.rollout import chunk_rollout
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.rollout.simulated_human import SimulatedHuman
from rlt_jax.serving.embedder import LocalEmbedder
from rlt_jax.training.setup import TaskSetup
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.pi_small.config import PiConfig
from tests.demonstrations import point_demo_task
from tests.training import test_divergence
from tests.vlas.untrained import random_vla

_PI = PiConfig(
  cameras=('top',), proprio_dim=3, prompt_length=4, horizon=20, action_dim=3,
  prefix_width=16, expert_width=16, depth=1, num_heads=2, head_dim=8,
  stem_widths=(16, 16), summary_widths=(8, 16), readout_slots=2,
  readout_width=16, euler_steps=2,
)  # fmt: skip
_CONFIG = dataclasses.replace(
  test_divergence.CONFIG,
  task_name='tests.demonstrations.point_demo_task:make',
  num_env_steps=1000,
  human=HumanConfig(help_minutes=0.2, stall_s=0.2),
  num_eval_episodes=2,
  num_final_episodes=4,
)
_METHOD = FinetuneConfig(
  driver='vla', kept='corrections', rounds=2, demos=8, demo_stride=4, steps=4,
  batch_size=8, draws=1, warmup_steps=1, least=2, held_out=0.3,
)  # fmt: skip


@pytest.fixture(scope='module')
def fitted():
  """Returns a setup of the point with a small untrained VLA, and the VLA."""
  task = point_demo_task.make(_CONFIG.task)
  spec = task.spec
  vla = random_vla(
    jax.random.key(0),
    _PI,
    action_mode='offset',
    action_scale=(0.01, 0.01, 0.01),
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
  )
  rollout = chunk_rollout.make(task)
  human = parts.of_one_round(_CONFIG, 2).human
  person = SimulatedHuman(task, rollout, human, _CONFIG.chunk_size)
  embedder = LocalEmbedder(vla, no_token.make(vla.spec))
  setup = TaskSetup(embedder, task, rollout, None, None, person)
  return parts.with_vla(setup, vla), vla


@pytest.fixture(autouse=True)
def fake(monkeypatch, fitted):
  monkeypatch.setattr(parts, 'make_setup', lambda *_: fitted)
  monkeypatch.setattr(result.assets_lib, 'demonstrations', lambda *_: None)


def make(folder, method=_METHOD, config=_CONFIG):
  return FinetuneRun(
    workdir=folder,
    config=config,
    finetuning=method,
    command='python -m experiments.compare',
  )


def run_to_end(folder, method=_METHOD):
  run = make(folder, method)
  try:
    run.practice()
    run.report()
  finally:
    run.close()
  return run


def test_a_run_leaves_its_vlas_and_a_report_that_can_be_pooled(
  tmp_path, fitted
):
  folder = tmp_path / 'a'
  run = run_to_end(folder)
  start = fitted[1]
  tuned = pi_vla.load(folder / 'vla-1')
  assert tuned.spec.fingerprint != start.spec.fingerprint
  # The prefix stays, and with it the tokens; the expert does not.
  for part, same in (('prefix', True), ('readout', True), ('expert', False)):
    pairs = zip(
      jax.tree.leaves(start.params[part]),
      jax.tree.leaves(tuned.params[part]),
      strict=True,
    )
    assert all(np.array_equal(x, y) for x, y in pairs) == same, part
  marks = [run.minutes(x) for x in range(2)]
  assert marks == ['0.1667', '0.3333']
  pooled = pooling.pool_seeds('dagger', [folder])
  assert set(pooled['points']) == {
    'base', 'base10@0', 'mean@0.1667', 'mean@0.3333', 'mean20@0.3333',
  }  # fmt: skip
  assert pooled['points']['mean@0.1667']['episodes'] == 2
  assert pooled['points']['mean@0.3333']['episodes'] == 4
  (practice,) = pooled['practice']
  assert practice['vla_updates'] == 8 and practice['critic_updates'] == 0
  report = json.loads((folder / 'report.json').read_text('utf-8'))
  rounds = report['finetuning']['rounds']
  driven = sum(x['human_steps'] for x in rounds)
  assert report['human']['human_s'] == pytest.approx(driven / 50)
  for found in rounds:
    assert 500 <= found['env_steps'] < 540 and found['trained']
    assert set(found['held_out']) == {'demonstrations', 'collected'}
  assert (folder / 'data' / 'collected' / 'round-1').is_dir()
  # They can be made again.
  assert not (folder / 'data' / 'demonstrations').exists()
  assert not list(folder.glob('training/*/checkpoints'))


@pytest.mark.parametrize(
  'stage, done',
  [
    ('by_vla', ['demonstrations']),
    ('tune', ['demonstrations', 'collected-0']),
  ],
)
def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch, stage, done):
  method = dataclasses.replace(_METHOD, rounds=1)
  owner = {'by_vla': finetune_run.collect, 'tune': training}[stage]

  def stop(*unused, **unused_too):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(owner, stage, stop)
    with pytest.raises(KeyboardInterrupt):
      run_to_end(tmp_path / 'a', method)
  stages = tmp_path / 'a' / finetune_run.STAGES_FILE
  before = json.loads(stages.read_text('utf-8'))
  assert list(before) == done
  evaluated = (tmp_path / 'a' / 'evaluations.json').read_text('utf-8')
  run_to_end(tmp_path / 'a', method)
  after = json.loads(stages.read_text('utf-8'))
  assert {name: after[name] for name in done} == before
  assert list(after)[-1] == 'trained-0'
  kept = json.loads((tmp_path / 'a' / 'evaluations.json').read_text('utf-8'))
  assert kept['base'] == json.loads(evaluated)['base']


def test_nothing_is_trained_on_too_little(tmp_path, fitted):
  method = dataclasses.replace(_METHOD, rounds=1, least=1000)
  run = run_to_end(tmp_path / 'a', method)
  assert not run.stages.data['trained-0']['trained']
  same = pi_vla.load(tmp_path / 'a' / 'vla-0').spec.fingerprint
  assert same == fitted[1].spec.fingerprint
  report = json.loads((tmp_path / 'a' / 'report.json').read_text('utf-8'))
  (found,) = report['finetuning']['rounds']
  assert found['held_out'] == {} and not found['trained']


@pytest.mark.parametrize('name', tasks.SHIPPED)
def test_each_shipped_task_has_the_operator_of_its_demonstrations(name):
  cls = tasks.expert_config_class(name)
  config = config_lib.override(cls(), OPERATORS[name])
  assert config.aim_error_mm > 0.5
