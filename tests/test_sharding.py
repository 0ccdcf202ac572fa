"""Several (simulated) devices give the result of one device."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from rlt_jax import sharding
from tests import sharding_worker

_ROOT = pathlib.Path(__file__).parents[1]


def _start(*args, devices):
  flags = (
    f'{os.environ["XLA_FLAGS"]} '
    f'--xla_force_host_platform_device_count={devices}'
  )
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.sharding_worker', *map(str, args)],
    cwd=_ROOT,
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    stderr=subprocess.PIPE,
    text=True,
  )


def _finish(processes):
  for process in processes:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-2000:]


@pytest.fixture(scope='module')
def alone():
  metrics, state = sharding_worker.train(None)
  leaves = jax.tree.leaves(state.actor_params)
  return float(metrics['critic_loss']), leaves, sharding_worker.move(None)


def _check_same(path, alone, processes):
  loss, leaves, joints = alone
  share = sharding_worker.WORLDS // processes
  with np.load(path) as found:
    np.testing.assert_allclose(found['loss'], loss, rtol=1e-4)
    assert found['replicated'].tolist() == ['True']
    assert found['joints'].shape == (share, 16)
    np.testing.assert_allclose(found['joints'], joints[:share], atol=1e-5)
    for i, leaf in enumerate(leaves):
      np.testing.assert_allclose(found[f'arr_{i}'], leaf, atol=2e-4)


def test_two_processes_of_four_devices_are_as_one(tmp_path, alone):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    host = f'127.0.0.1:{free.getsockname()[1]}'
  out = tmp_path / 'out.npz'
  _finish([_start(out, 8, host, 2, i, devices=4) for i in range(2)])
  _check_same(out, alone, processes=2)


def test_a_tree_is_sharded_and_replicated():
  mesh = sharding.make_mesh(1)
  tree = {'x': np.arange(6.0).reshape(3, 2)}
  for moved in (sharding.shard(tree, mesh), sharding.replicate(tree, mesh)):
    np.testing.assert_array_equal(moved['x'], tree['x'])
    assert moved['x'].sharding.mesh == mesh


class _Two:
  size = 2


@pytest.mark.parametrize(
  'call, message',
  [
    (lambda: sharding.make_mesh(0), r'must have 1 to \d+ devices: 0'),
    (lambda: sharding.make_mesh(10**6), r'must have 1 to \d+ devices: 1000000'),
    (lambda: sharding.shard({'x': np.zeros(3)}, _Two()), r"\['x'\], 3: 2 dev"),
    (lambda: sharding.shard({'x': 1.0}, _Two()), r"\['x'\], 0: 2 devices"),
    (
      lambda: sharding.shard_samples(None, 15, _Two()),
      'must divide the batch, 15: 2 devices',
    ),
  ],
)
def test_what_does_not_divide_is_refused(call, message):
  with pytest.raises(ValueError, match=message):
    call()
