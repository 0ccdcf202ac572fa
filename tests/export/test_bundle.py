import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_jax.agents import rlt
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.rlt import networks
from rlt_jax.export import bundle
from rlt_jax.robot.policy import bundle as reading
from rlt_jax.robot.policy import onnx_policy
from rlt_jax.robot.policy.numpy_policy import check_agreement, NumpyPolicy
from rlt_jax.types import INTERVENTION_REFERENCES
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
  with pytest.raises(ValueError, match='exported with policy.onnx'):
    onnx_policy.load(written)


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(ModuleNotFoundError, match='pip install'):
    bundle.write(tmp_path / 'b', *_actor(), _SPEC, onnx=True)
  assert not (tmp_path / 'b').exists()


def test_a_bundle_reads_back_as_written(written):
  spec, _ = reading.load(written)
  assert spec == _SPEC


def test_it_refuses_a_folder_that_exists(written):
  with pytest.raises(ValueError, match='folder must be new'):
    bundle.write(written, *_actor(), _SPEC)


def test_it_holds_the_digests_that_sha256sum_reads(written):
  subprocess.run(
    ['sha256sum', '--check', '--strict', reading.DIGESTS],
    cwd=written, check=True, capture_output=True,
  )  # fmt: skip
  modes = {x.name: x.stat().st_mode & 0o777 for x in written.iterdir()}
  assert len(set(modes.values())) == 1, modes  # others can read all or nothing


def test_one_flipped_bit_anywhere_is_refused(written):
  """The first layers, the record and the digests themselves, bit by bit."""
  rng = np.random.default_rng(0)
  for path in sorted(written.iterdir()):
    whole = path.read_bytes()
    for place in rng.integers(8 * len(whole), size=200):
      damaged = bytearray(whole)
      damaged[place // 8] ^= 1 << (place % 8)
      path.write_bytes(damaged)
      with pytest.raises(ValueError, match=str(written)):
        reading.load(written)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=str(written)):
      reading.load(written)
    path.write_bytes(whole)
  assert reading.load(written)[0] == _SPEC


@pytest.mark.parametrize(
  'name', [reading.DIGESTS, reading.RECORD, reading.WEIGHTS]
)
def test_a_bundle_that_is_not_whole_is_refused(written, name):
  (written / name).unlink()
  with pytest.raises(ValueError, match=f'must .*{name}'):
    reading.load(written)


def test_a_file_without_a_digest_is_not_used(written):
  (written / reading.ONNX).write_bytes(b'graph')
  for load in (reading.load, onnx_policy.load, bundle.load_exported):
    with pytest.raises(ValueError, match='in its SHA256SUMS'):
      load(written)


def _rewrite(folder, change):
  """Changes the record as if it had been exported so."""
  path = folder / reading.RECORD
  record = json.loads(path.read_text())
  change(record)
  path.write_text(json.dumps(record))
  reading.write_digests(folder)


@pytest.mark.parametrize(
  'damage, message',
  [
    (lambda x: x * np.float32('nan'), 'must hold finite numbers'),
    (lambda x: x / np.float32(0.0), 'must hold finite numbers'),
    (lambda x: x.astype(np.int8), "must be float32: .*'int8'"),
    (lambda x: x.astype(np.float64), "must be float32: .*'float64'"),
    (lambda x: x[..., :-1], 'must have the shapes'),
  ],
)
@pytest.mark.filterwarnings('ignore:.*divide|.*invalid')
def test_weights_that_must_not_reach_an_arm_are_refused(
  written, damage, message
):
  _, layers = reading.load(written)
  stored = {f'{i:02d}': x for i, x in enumerate(layers)}
  stored['00'] = np.ascontiguousarray(damage(stored['00']))
  save_file(stored, written / reading.WEIGHTS)
  reading.write_digests(written)
  with pytest.raises(ValueError, match=f'{reading.WEIGHTS}.*{message}'):
    reading.load(written)


@pytest.mark.parametrize('content', [b'', b'text', b'\xff' * 64])
def test_weights_that_are_no_safetensors_file_are_refused(written, content):
  (written / reading.WEIGHTS).write_bytes(content)
  reading.write_digests(written)
  with pytest.raises(ValueError, match='must be a safetensors file'):
    reading.load(written)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'hidden_dims': [16, 8]}, 'Layers must have the shapes'),
    ({'format_version': 1}, 'format_version must be 4: 1'),
    ({'color': 'red'}, "BundleSpec has no field 'color'"),
    ({'gamma': 'high'}, "BundleSpec.gamma must be float: 'high'"),
    ({'replay_stride': 3}, 'replay_stride must be a divisor of chunk_size 4'),
    ({'exploration_noise': 'held'}, "noise must be one of .*: 'held'"),
    ({'reach': [0.1]}, 'reach must be as long as joint_names, 3: 1'),
  ],
)
def test_a_record_that_does_not_fit_is_refused(written, changes, message):
  _rewrite(written, lambda record: record.update(changes))
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
  _rewrite(written, lambda record: record.update({old: record.pop(new)}))
  with pytest.raises(ValueError, match=f'{old!r} is now {new!r}.*exported'):
    reading.load(written)


def test_a_record_without_a_field_is_refused(written):
  _rewrite(written, lambda record: record.pop('replay_stride'))
  with pytest.raises(ValueError, match=r"every field: no \['replay_stride'\]"):
    reading.load(written)


_NAN, _INF = float('nan'), float('inf')


@pytest.mark.parametrize(
  'field, values',
  [
    ('control_hz', (500.0, 0.0, -50.0, _NAN, _INF)),
    ('inference_delay', (-2, 1, 4, 1000)),
    ('replay_stride', (0, -2, 3)),
    ('chunk_size', (0, -4)),
    ('z_dim', (0,)),
    ('hidden_dims', ((), (0, 16))),
    ('exploration_std', (1e6, -0.1, _NAN, _INF)),
    ('gamma', (0.0, 1.5, _NAN)),
    ('frozen_action_dims', ((-1,), (3,), (1, 1), (1, 0), (0, 1, 2))),
    ('intervention_reference', ('robot', '')),
    ('action_mode', ('absolute',)),
    ('joint_names', ((), ('a', 'a', 'grip'), ('a', '', 'grip'))),
    ('joint_units', (('rad', 'rad', 'mm'), ('deg', 'rad', 'm'))),
    ('joint_low', ((1.0, -1.0, 0.0), (_NAN, -1.0, 0.0), (-_INF, -1.0, 0.0))),
    ('joint_high', ((_INF, 1.0, 0.03), (1.0, 1.0, 0.0))),
    ('reach', ((0.0, 0.01, 0.005), (_INF, 0.01, 0.005))),
    ('action_scale', ((0.0, 0.1, 0.1), (-0.1, 0.1, 0.1), (_NAN, 0.1, 0.1))),
    ('proprio_mean', ((_NAN, 0.2, 0.3, 0.4, 0.5),)),
    ('proprio_std', ((0.0, 2.0, 0.5, 0.1, 1.0), (_INF, 2.0, 0.5, 0.1, 1.0))),
    ('cameras', ((), ('wrist', 'wrist'))),
    ('prompt', ('',)),
    ('vla_fingerprint', ('',)),
  ],
)
def test_every_field_has_a_rule(field, values):
  for value in values:
    with pytest.raises(ValueError, match=f'{field}|joint_low'):
      make_spec(**{field: value})


def test_the_kinds_are_those_of_agent_and_replay():
  assert reading.NOISE_KINDS == networks.NOISE_KINDS
  assert reading.INTERVENTION_REFERENCES == tuple(INTERVENTION_REFERENCES)


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
