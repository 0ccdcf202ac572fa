"""What is wrong with the VLA's chunks, on purpose."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.rollout import reference_faults
from rlt_jax.sim.action_space import ActionSpace

_MOVING = np.arange(6)
_CHUNKS = np.random.default_rng(0).normal(size=(4, 2, 5, 14)).astype('f4')


@pytest.fixture(scope='module')
def task():
  return tasks.load('ethernet')


@pytest.fixture(scope='module')
def space():
  return ActionSpace(np.linspace(0.001, 0.004, 14, dtype=np.float32))


def test_none_changes_nothing(task, space):
  fault = reference_faults.make('none', task, space)
  assert fault(None, _CHUNKS, None) is _CHUNKS


def test_the_bias_moves_the_tip_in_every_step(task, space):
  worlds = jax.vmap(task.reset)(jax.random.split(jax.random.PRNGKey(1), 4))
  fault = reference_faults.make('bias', task, space)
  found = np.asarray(fault(worlds, jnp.zeros_like(_CHUNKS), None))
  np.testing.assert_array_equal(found, np.tile(found[:, :1, :1], (1, 2, 5, 1)))
  assert not found[..., 6:].any()
  tip = jax.vmap(task.tip.pose)
  joints = worlds.qpos[:, :6] + found[:, 0, 0, :6] * space.scale[:6]
  moved = worlds.replace(qpos=worlds.qpos.at[:, :6].set(joints))
  (here, turn), (there, turned) = tip(worlds), tip(moved)
  way = np.tile([reference_faults.BIAS_MM * 1e-3, 0.0, 0.0], (4, 1))
  np.testing.assert_allclose(there - here, way, atol=2e-6)
  np.testing.assert_allclose(turned, turn, atol=1e-4)


def test_halved_motions_are_half_as_far(task, space):
  fault = reference_faults.make('halved', task, space)
  np.testing.assert_array_equal(fault(None, _CHUNKS, None), _CHUNKS / 2)


def test_noise_is_of_one_unit_held_and_drawn_by_key(task, space):
  fault = reference_faults.make('noise', task, space)
  keys = jax.random.split(jax.random.PRNGKey(0), 2)
  zeros = jnp.zeros((2000, 2, 5, 14))
  found = np.asarray(fault(None, zeros, keys))
  np.testing.assert_array_equal(found, np.tile(found[:, :, :1], (1, 1, 5, 1)))
  assert not found[..., 6:].any()
  np.testing.assert_allclose(found[..., _MOVING].std(), 1.0, rtol=0.02)
  # Each group has what its own key alone gives, and each draw its own noise.
  alone = fault(None, zeros[1000:], keys[1])
  np.testing.assert_array_equal(found[1000:], alone)
  assert abs(found[:, 0] - found[:, 1])[..., _MOVING].min() > 0.0


@pytest.mark.parametrize(
  'name, changes, mode, message',
  [
    ('magic', {}, 'offset', "one of .*: 'magic'"),
    ('halved', {}, 'increment', "offsets from .*: 'increment'"),
    ('bias', {'tip': None}, 'offset', 'needs a task with a tip: ethernet'),
  ],
)
def test_what_does_not_fit_is_refused(
  task, space, name, changes, mode, message
):
  task = dataclasses.replace(task, **changes)
  with pytest.raises(ValueError, match=message):
    reference_faults.make(name, task, space._replace(mode=mode))
