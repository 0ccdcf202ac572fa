"""Agents other than RLT practice, are evaluated and reported.

Without pictures and without a film: test_practice_run has both.
"""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

from rlt_jax.agents import registry
from rlt_jax.agents.imitation.config import ImitationConfig
from rlt_jax.reporting import metrics
from rlt_jax.training import loop, practice_run
from rlt_jax.training import setup as setup_lib
from tests.agents import toy_agent

_ROOT = pathlib.Path(__file__).parents[2]
_TOY = 'tests.agents.toy_agent:make'


@pytest.fixture(scope='module')
def rlt_setup(config, assets, dark):
  return setup_lib.make(config, str(assets))


@pytest.fixture
def imitating(config, assets, rlt_setup, monkeypatch):
  """A config of the imitation agent; setup reuses what is compiled."""
  agent = ImitationConfig(hidden_dims=(16,), batch_size=16)
  config = dataclasses.replace(
    config, agent_name='imitation', agent=agent, num_eval_videos=0
  )

  def make(config, folder):
    agent = setup_lib.make_agent(config, rlt_setup.perception)
    return rlt_setup._replace(agent=agent)

  monkeypatch.setattr(setup_lib, 'make', make)
  return config


def test_a_strangers_agent_practices(config, rlt_setup):
  agent_config = toy_agent.OffsetConfig(batch_size=16)
  config = dataclasses.replace(config, agent_name=_TOY, agent=agent_config)
  agent = setup_lib.make_agent(config, rlt_setup.perception)
  practice = loop.Practice(
    rlt_setup.rollout_fns, rlt_setup.perception, agent, config
  )
  phases, found = [], {}

  def on_round(state, metrics):
    phases.append(metrics['phase'])
    found.update(metrics)

  state = practice.run(practice.init(), 220, on_round)
  assert set(phases) == {'warm-up', 'practice'}
  assert found['finite'] == 1.0 and 'offset_rms' in found
  updates = int(state.learner.agent['updates'])
  assert updates == config.utd_ratio * state.learner.rows > 0
  assert np.isfinite(state.policy).all()


def test_imitation_practices_and_reports(tmp_path, imitating, assets):
  run = practice_run.PracticeRun(
    workdir=tmp_path / 'a', config=imitating, resume=False, assets=str(assets)
  )
  run.practice()
  run.report()
  report = json.loads((tmp_path / 'a' / 'report.json').read_text())
  assert report['final']['episodes'] == imitating.num_final_episodes
  assert not report['beta']  # it has none
  rows = metrics.read_metrics(tmp_path / 'a')
  assert 'actor_loss' in rows[-1] and 'critic_loss' not in rows[-1]
  assert rows[-1]['critic_updates'] > 0


def test_the_page_shows_the_agent_that_is_tested():
  page = (_ROOT / 'docs' / 'extending_agent.md').read_text('utf-8')
  (example,) = re.findall(r'```python\n(.*?)```', page, re.S)
  toy = (_ROOT / 'tests' / 'agents' / 'toy_agent.py').read_text('utf-8')
  assert example == toy
  assert example.count('\n') < 60


def test_only_its_folder_names_rlts_networks():
  """Grep: nothing else in the package knows RLT's params or networks."""
  words = re.compile(
    r'make_networks|actor_params|critic_params|_Mlp_0|agents\.rlt(?!\.config)'
    r'|import rlt\b'
  )
  found = [
    str(path.relative_to(_ROOT))
    for path in (_ROOT / 'rlt_jax').rglob('*.py')
    if 'agents/rlt' not in str(path) and words.search(path.read_text('utf-8'))
  ]
  assert found == ['rlt_jax/agents/registry.py']  # its name
  assert registry.SHIPPED['rlt'] == 'rlt_jax.agents.rlt.agent:make'
