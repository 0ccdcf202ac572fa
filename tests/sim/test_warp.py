"""The engines below the task: which can run, and that they agree."""

import subprocess
import sys

import jax
import jax.numpy as jnp
from mujoco.mjx import warp as mjx_warp
import numpy as np
import pytest

from rlt_jax.sim import physics
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.ethernet.pushes import PUSHES
from rlt_jax.tasks.insertion import pushes as pushes_lib
from tests.sim.test_physics import AGREE

_WARP = EthernetConfig(impl='warp')


def test_an_engine_that_cannot_run_here_is_refused(monkeypatch):
  monkeypatch.setattr(mjx_warp, 'WARP_INSTALLED', False)
  with pytest.raises(ValueError, match=r"runs here, \['jax'\].*: 'warp'"):
    task_lib.make(_WARP)


def test_warp_is_refused_on_other_accelerators(monkeypatch):
  monkeypatch.setattr(mjx_warp, 'WARP_INSTALLED', True)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  assert physics.runnable() == ('jax',)


def test_an_unknown_engine_is_refused():
  with pytest.raises(ValueError, match=r"\('jax', 'warp'\): 'c'"):
    EthernetConfig(impl='c')


@pytest.fixture(scope='module')
def warp_step():
  """(State [20], command [20, A]) -> State [20], by MuJoCo Warp."""
  if 'warp' not in physics.runnable():
    pytest.skip('MuJoCo Warp is an extra.')
  return jit(jax.vmap(task_lib.make(_WARP).step))


@pytest.fixture(scope='module')
def lined_up(warp_step, starts, scene, solve):
  """The pushes' states [20] and commands [T, 20, A]."""
  return pushes_lib.line_up(PUSHES, starts, scene, solve)


def test_pushes_end_alike(lined_up, task, scene, step, warp_step):
  one = pushes_lib.run_mjx(task, scene, *lined_up, step).depth
  other = pushes_lib.run_mjx(task, scene, *lined_up, warp_step).depth
  seated = EthernetConfig().seated_mm * 1e-3
  for row, push in enumerate(PUSHES):
    depth = other[-1, row]
    assert (depth >= seated) == (push.ends == 'seated'), (push.name, depth)
    apart = abs(depth - one[-1, row]) * 1e3
    assert apart <= AGREE[push.ends], (push.name, apart)


def test_an_insertion_has_the_same_verdict(lined_up, step, warp_step):
  start, commands = lined_up
  ends = []
  for engine in (step, warp_step):
    state = start
    for command in commands:
      state = engine(state, jnp.asarray(command))
    ends.append(jax.tree.map(np.asarray, state))
  row = [push.name for push in PUSHES].index('aligned')
  one, other = ends
  assert one.outcome[row] == other.outcome[row] == EthernetOutcome.SUCCESS
  assert abs(int(one.steps[row]) - int(other.steps[row])) <= 1
  np.testing.assert_allclose(other.qpos[row], one.qpos[row], atol=1e-3)


def test_a_single_world_steps_as_in_a_batch(lined_up, warp_step):
  start, commands = lined_up
  step = jit(task_lib.make(_WARP).step)
  row = [push.name for push in PUSHES].index('aligned')
  many, one = start, jax.tree.map(lambda x: x[row], start)
  for command in commands[:20]:
    many = warp_step(many, jnp.asarray(command))
    one = step(one, jnp.asarray(command[row]))
  np.testing.assert_allclose(one.qpos, many.qpos[row], atol=1e-5)


def test_importing_the_engine_prints_nothing():
  done = subprocess.run(
    [sys.executable, '-c', 'import rlt_jax.sim.physics'],
    capture_output=True,
    text=True,
    check=True,
  )
  assert not done.stdout
