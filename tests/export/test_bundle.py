import dataclasses
import json
import sys

import jax
import numpy as np
import pytest

from rlt_jax.agents import rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.rlt import networks
from rlt_jax.export import bundle
from rlt_jax.robot.policy import bundle as reading
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.numpy_policy import check_agreement, NumpyPolicy
from tests.robot.conftest import make_spec

_SPEC = make_spec()


def _actor(spec=_SPEC):
  config = rlt.RltConfig(
    exploration_std=spec.exploration_std,
    hidden_dims=spec.hidden_dims,
    frozen_action_dims=spec.frozen_action_dims,
    reference_input=spec.reference_input,
  )
  agent = rlt.make(
    config,
    Sizes(spec.z_dim, spec.proprio_dim, spec.chunk_size, spec.action_dim),
  )
  return agent, agent.policy_params(agent.init(jax.random.key(0)))


@pytest.fixture
def written(tmp_path):
  apart = bundle.write(tmp_path / 'b', *_actor(), _SPEC)
  assert apart <= 1e-5
  return tmp_path / 'b'


@pytest.mark.parametrize('reference_input', [True, False])
def test_every_form_is_the_trained_actor(tmp_path, reference_input):
  spec = make_spec(reference_input=reference_input)
  agent, params = _actor(spec)
  bundle.write(tmp_path / 'b', agent, params, spec)
  policy = NumpyPolicy.load(tmp_path / 'b')
  exported = bundle.load_exported(tmp_path / 'b')
  rng = np.random.default_rng(1)
  for _ in range(5):
    z_rl, scaled = rng.normal(size=6), rng.normal(size=5)
    reference = np.float32(rng.normal(size=(4, 3)))
    proprio = scaled * np.array(spec.proprio_std) + spec.proprio_mean
    given = np.float32(z_rl), np.float32(proprio), reference
    trained = agent.mlp_policy.apply(
      params, given[0], np.float32(scaled), reference
    )
    np.testing.assert_allclose(policy.act(*given), trained, atol=1e-5)
    np.testing.assert_allclose(exported(*given), trained, atol=1e-5)


@pytest.mark.parametrize('reference_input', [True, False])
def test_the_onnx_form_is_the_same_actor(tmp_path, reference_input):
  pytest.importorskip('onnx')
  pytest.importorskip('onnxruntime')
  spec = make_spec(reference_input=reference_input)
  agent, params = _actor(spec)
  assert bundle.write(tmp_path / 'b', agent, params, spec, onnx=True) <= 1e-5
  policy = NumpyPolicy.load(tmp_path / 'b')
  form = onnx_policy.load(tmp_path / 'b')
  assert check_agreement('ONNX', policy, form) <= 1e-5
  other = jax.tree.map(lambda x: 1.01 * x, params)
  bundle.write(tmp_path / 'other', agent, other, spec)
  with pytest.raises(ValueError, match='NumPy and ONNX must agree to 1e-05'):
    check_agreement('ONNX', NumpyPolicy.load(tmp_path / 'other'), form)


def test_an_actor_of_other_frozen_entries_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r'frozen_action_dims .* \(\): \(1,\)'):
    bundle.write(tmp_path / 'b', *_actor(), make_spec(frozen_action_dims=()))
  assert not (tmp_path / 'b').exists()


def test_a_bundle_without_onnx_says_how_to_get_it(written):
  with pytest.raises(ValueError, match='exported with --onnx'):
    onnx_policy.load(written)


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(ModuleNotFoundError, match='pip install'):
    bundle.write(tmp_path / 'b', *_actor(), _SPEC, onnx=True)
  assert not (tmp_path / 'b').exists()


def test_a_bundle_reads_back_as_written(written):
  spec, _ = reading.load(written)
  assert dataclasses.replace(spec, weights_sha256='') == _SPEC


def test_it_refuses_a_folder_that_exists(written):
  with pytest.raises(ValueError, match='folder must be new'):
    bundle.write(written, *_actor(), _SPEC)


def test_weights_that_are_not_the_records_are_refused(written):
  with open(written / reading.WEIGHTS, 'ab') as file:
    file.write(b'0')
  with pytest.raises(ValueError, match='must have the digest'):
    reading.load(written)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'hidden_dims': [16, 8]}, 'Layers must have the shapes'),
    ({'format_version': 1}, 'format_version must be 3: 1'),
    ({'color': 'red'}, "BundleSpec has no field 'color'"),
    ({'gamma': 'high'}, "BundleSpec.gamma must be float: 'high'"),
    ({'replay_stride': 3}, 'replay_stride must divide chunk_size 4: 3'),
    ({'exploration_noise': 'held'}, "noise must be one of .*: 'held'"),
    ({'reach': [0.1]}, 'reach must have an entry per joint, 3: 1'),
  ],
)
def test_a_record_that_does_not_fit_is_refused(written, changes, message):
  path = written / reading.RECORD
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  with pytest.raises(ValueError, match=message):
    reading.load(written)


@pytest.mark.parametrize(
  'old, new',
  [
    ('chunk', 'chunk_size'),
    ('delay', 'inference_delay'),
    ('hidden', 'hidden_dims'),
    ('idle_entries', 'frozen_action_dims'),
    ('sigma', 'exploration_std'),
    ('noise', 'exploration_noise'),
    ('stride', 'replay_stride'),
  ],
)
def test_the_old_name_of_a_field_is_answered_with_the_new_one(
  written, old, new
):
  path = written / reading.RECORD
  record = json.loads(path.read_text())
  record[old] = record.pop(new)
  path.write_text(json.dumps(record))
  with pytest.raises(ValueError, match=f'{old!r} is now {new!r}.*exported'):
    reading.load(written)


def test_a_record_without_a_field_is_refused(written):
  path = written / reading.RECORD
  record = json.loads(path.read_text())
  del record['replay_stride']
  path.write_text(json.dumps(record))
  with pytest.raises(ValueError, match=r"every field: no \['replay_stride'\]"):
    reading.load(written)


def test_the_kinds_of_noise_are_the_agents():
  assert reading.NOISE_KINDS == networks.NOISE_KINDS


@pytest.mark.parametrize(
  'host',
  [
    {'joint_names': ['b', 'a', 'grip']},
    {'cameras': ('base',)},
    {'vla_fingerprint': 'other'},
    {'action_scale': [0.1, 0.1, 0.1]},
  ],
)
def test_a_host_that_disagrees_is_refused_by_name(written, host):
  spec, _ = reading.load(written)
  reading.check_host(spec, joint_units=['rad', 'rad', 'm'])
  with pytest.raises(ValueError, match=f'{next(iter(host))} must be'):
    reading.check_host(spec, **host)
