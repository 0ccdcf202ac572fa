import numpy as np
import pytest
from safetensors.numpy import save

from rlt_jax.robot.policy import snapshot
from tests.robot.conftest import make_layers, make_spec


def _write(folder, spec, version=1):
  layers = make_layers(spec)
  snapshot.write(folder, snapshot.Snapshot(layers, version, 40, 200, 1e9 / 3))
  return layers


def test_it_reads_back_as_written(tmp_path, spec):
  layers = _write(tmp_path, spec, version=4)
  found = snapshot.read(tmp_path, spec)
  assert found[1:] == (4, 40, 200, 1e9 / 3, '', '')
  for own, other in zip(layers, found.layers, strict=True):
    np.testing.assert_array_equal(own, other)
  assert [p.name for p in tmp_path.iterdir()] == [snapshot.FILE]


def test_only_a_newer_one_is_read(tmp_path, spec):
  assert snapshot.read(tmp_path, spec) is None
  _write(tmp_path, spec, version=4)
  first = snapshot.read(tmp_path, spec)
  assert snapshot.read(tmp_path, spec, newer_than=first) is None
  _write(tmp_path, spec, version=5)
  assert snapshot.read(tmp_path, spec, newer_than=first).version == 5


def test_one_of_a_learner_that_began_anew_is_newer(tmp_path, spec):
  _write(tmp_path, spec, version=30)
  first = snapshot.read(tmp_path, spec)
  snapshot.write(tmp_path, first._replace(version=1, learner='other'))
  found = snapshot.read(tmp_path, spec, newer_than=first)
  assert (found.version, found.learner) == (1, 'other')
  assert snapshot.read(tmp_path, spec, newer_than=found) is None


def test_weights_of_another_bundle_are_refused(tmp_path, spec):
  layers = make_layers(spec)
  weights = snapshot.Snapshot(layers, 1, 40, 200, 1.0, bundle='one')
  snapshot.write(tmp_path, weights)
  assert snapshot.read(tmp_path, spec, bundle='one').bundle == 'one'
  with pytest.raises(ValueError, match="must be of the loop's bundle two: its"):
    snapshot.read(tmp_path, spec, bundle='two')
  _write(tmp_path, spec)  # as a version without the field
  assert snapshot.read(tmp_path, spec, bundle='two').bundle == ''


def test_a_file_of_a_version_without_bundle_is_read(tmp_path, spec):
  """Written by the version before: its metadata have four fields."""
  layers = make_layers(spec)
  about = {
    'version': '4', 'rows': '40', 'critic_updates': '200', 'written': '5.5'
  }  # fmt: skip
  content = save(
    {f'{i:02d}': x for i, x in enumerate(layers)},
    metadata=about | {'sha256': snapshot._digest(about, layers)},
  )
  (tmp_path / snapshot.FILE).write_bytes(content)
  found = snapshot.read(tmp_path, spec, bundle='one')
  assert found[1:] == (4, 40, 200, 5.5, '', '')


def test_layers_of_another_policy_are_refused(tmp_path, spec):
  _write(tmp_path, make_spec(hidden_dims=(8, 8)))
  with pytest.raises(ValueError, match='Layers must have the shapes'):
    snapshot.read(tmp_path, spec)


def test_every_damage_is_a_clear_error(tmp_path, spec):
  _write(tmp_path, spec)
  path = tmp_path / snapshot.FILE
  whole = path.read_bytes()
  rng = np.random.default_rng(0)
  flipped = [bytearray(whole) for _ in range(100)]
  for content in flipped:
    content[rng.integers(len(whole))] ^= 1 << rng.integers(8)
  for content in (
    b'', whole[: len(whole) // 2], whole[:-1], b'no', *map(bytes, flipped)
  ):  # fmt: skip
    path.write_bytes(content)
    with pytest.raises(ValueError, match='must be a whole snapshot'):
      snapshot.read(tmp_path, spec)
  path.write_bytes(whole)
  assert snapshot.read(tmp_path, spec).version == 1


def test_weights_that_are_not_finite_are_refused(tmp_path, spec):
  layers = make_layers(spec)
  layers[1][0] = np.nan
  snapshot.write(tmp_path, snapshot.Snapshot(layers, 1, 40, 200, 1.0))
  with pytest.raises(ValueError, match='finite'):
    snapshot.read(tmp_path, spec)
