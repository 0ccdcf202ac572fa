import numpy as np
import pytest

from rlt_jax.robot.policy import snapshot
from tests.robot.conftest import make_layers, make_spec


def _write(folder, spec, version=1):
  layers = make_layers(spec)
  snapshot.write(folder, snapshot.Snapshot(layers, version, 40, 200, 1e9 / 3))
  return layers


def test_it_reads_back_as_written(tmp_path, spec):
  layers = _write(tmp_path, spec, version=4)
  found = snapshot.read(tmp_path, spec)
  assert found[1:] == (4, 40, 200, 1e9 / 3)
  for own, other in zip(layers, found.layers, strict=True):
    np.testing.assert_array_equal(own, other)
  assert [p.name for p in tmp_path.iterdir()] == [snapshot.FILE]


def test_only_a_newer_one_is_read(tmp_path, spec):
  assert snapshot.read(tmp_path, spec) is None
  _write(tmp_path, spec, version=4)
  assert snapshot.read(tmp_path, spec, newer_than=4) is None
  _write(tmp_path, spec, version=5)
  assert snapshot.read(tmp_path, spec, newer_than=4).version == 5


def test_layers_of_another_policy_are_refused(tmp_path, spec):
  _write(tmp_path, make_spec(hidden_dims=(8, 8)))
  with pytest.raises(ValueError, match='Layers must have the shapes'):
    snapshot.read(tmp_path, spec)
