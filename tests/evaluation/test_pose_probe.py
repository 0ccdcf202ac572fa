import functools

import jax
import numpy as np
import pytest

from rlt_jax.evaluation import pose_probe
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from tests.giving_up import given_up


@pytest.fixture(scope='module')
def poses():
  """Position [F, 3], mm, and turn [F, 3], degrees, in the socket's frame."""
  task, scene = task_lib.make(), scene_lib.load()

  def pose(key):
    return task.true_pose(pose_probe.draw(key, task, scene))

  keys = jax.random.split(jax.random.key(0), 400)
  out = jit(jax.vmap(pose))(keys)
  return 1e3 * out[:, :3], np.rad2deg(out[:, 3:])


def test_draws_poses_around_the_mouth(poses):
  place, turn = poses
  np.testing.assert_allclose(place[:, :2].std(0), 1.0, rtol=0.15)
  assert -1.01 < place[:, 2].min() < -0.9 and 5.9 < place[:, 2].max() < 6.01
  np.testing.assert_allclose(turn.std(0), 2.0, rtol=0.15)
  assert np.abs(np.corrcoef(np.hstack(poses).T) - np.eye(6)).max() < 0.2


def test_a_probe_finds_what_its_features_tell_and_no_more():
  rng = np.random.default_rng(0)
  y = rng.normal(size=(3000, 6)).astype(np.float32)
  told = y[:, :3] @ rng.normal(size=(3, 12))
  fit = functools.partial(
    pose_probe.fit, told.astype(np.float32), y, jax.random.key(1)
  )
  error = fit(600)
  assert error[:3].max() < 0.25 and error[3:].min() > 0.9


@pytest.mark.parametrize('poses', [1000, 1050])
def test_too_few_poses_or_no_whole_hundreds_are_refused(poses):
  with pytest.raises(ValueError, match=f'above 1000: {poses}'):
    pose_probe.features(
      jax.random.key(0),
      vla=None,
      token=None,
      prompt=None,
      task=None,
      poses=poses,
    )


def test_every_kind_of_features_gets_a_line_and_an_error(monkeypatch):
  rng = np.random.default_rng(0)
  truth = rng.normal(size=(1100, 6)).astype(np.float32)
  columns = {'joints': truth[:, :3], 'z_rl': truth[:, 3:]}
  monkeypatch.setattr(
    pose_probe, 'features', lambda *unused, **kwargs: (columns, truth)
  )
  lines = []
  table = pose_probe.measure(
    0, vla=None, token=None, prompt=None, task=None, poses=1100, steps=300,
    log=lines.append,
  )  # fmt: skip
  assert [line.split()[0] for line in lines[1:]] == list(table)
  assert list(table) == ['constant', 'joints', 'z_rl']
  constant, joints, z_rl = (list(row.values()) for row in table.values())
  np.testing.assert_allclose(constant, truth.std(0), atol=1e-4)
  assert max(joints[:3]) < 0.4 < min(joints[3:])
  assert max(z_rl) < 0.5  # the joints are given to it too


@pytest.mark.parametrize('name', ['features', 'fit'])
def test_a_probe_is_given_up_at_a_signal(monkeypatch, name):
  columns = {'joints': np.zeros((1100, 3), np.float32)}
  found = columns, np.ones((1100, 6), np.float32)
  monkeypatch.setattr(pose_probe, 'features', lambda *_, **__: found)
  with given_up() as compiling:
    monkeypatch.setattr(pose_probe, name, compiling)
    pose_probe.measure(
      0, vla=None, token=None, prompt=None, task=None, poses=1100, steps=2,
      log=lambda line: None,
    )  # fmt: skip
