"""What a bundle is and how it runs on this host."""

import builtins
import re

import jax
import pytest

from rlt_jax.agents import rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.export import bundle, check
from tests.robot.conftest import make_spec

_SPEC = make_spec(
  run={'task': 'toy', 'env_steps': 3, 'created': 'now', 'commit': 'abc'}
)


@pytest.fixture
def folder(tmp_path):
  config = rlt.RltConfig(
    hidden_dims=_SPEC.hidden_dims,
    frozen_action_dims=_SPEC.frozen_action_dims,
    exploration_std=_SPEC.exploration_std,
  )
  agent = rlt.make(
    config,
    Sizes(_SPEC.z_dim, _SPEC.proprio_dim, _SPEC.chunk_size, _SPEC.action_dim),
  )
  params = agent.policy_params(agent.init(jax.random.key(0)))
  bundle.write(tmp_path / 'b', agent, params, _SPEC)
  return tmp_path / 'b'


def test_a_description_names_task_joints_and_what_is_frozen():
  text = check.describe(_SPEC)
  assert text.startswith('toy, 3 control steps of practice, now, commit abc')
  for i, name in enumerate(_SPEC.joint_names):
    (line,) = [x for x in text.splitlines() if x.startswith(f'  {name} ')]
    assert ('frozen' in line) == (i in _SPEC.frozen_action_dims)


def test_every_form_is_compared_and_timed(folder):
  forms, text = check.open_forms(folder)
  assert [name.split()[0] for name in forms] == ['NumPy', 'JAX']
  assert re.search('NumPy and JAX differ by at most [^ ]+ units', text)
  for form in forms.values():
    p50, p99, worst = check.latency(form, _SPEC, 5)
    assert 0.0 < p50 <= p99 <= worst
  with pytest.raises(ValueError, match='calls must be at least 1: 0'):
    check.latency(form, _SPEC, 0)


def test_a_host_without_jax_checks_numpy_only(folder, monkeypatch):
  real = builtins.__import__

  def without_jax(name, *args, **kwargs):
    if name.split('.')[0] == 'jax':
      raise ImportError(name)
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', without_jax)
  forms, text = check.open_forms(folder)
  assert len(forms) == 1
  assert 'JAX is not installed' in text
