"""One task and a few compiled functions, shared by the simulator's tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.insertion import measures, pushes
from rlt_jax.tasks.task import Task

# Every batched call uses this many worlds: a new shape is a new compilation.
WORLDS = 20


@pytest.fixture(scope='session')
def task() -> Task:
  return task_lib.make()


@pytest.fixture(scope='session')
def scene():
  return scene_lib.load()


@pytest.fixture(scope='session')
def reset(task):
  """keys [20] -> State [20]."""
  return jit(jax.vmap(task.reset))


@pytest.fixture(scope='session')
def step(task):
  """(State [20], command [20, A]) -> State [20]."""
  return jit(jax.vmap(task.step))


@pytest.fixture(scope='session')
def tip_in_socket(scene):
  """State [20] -> TipInSocket [20]."""
  return jit(jax.vmap(lambda state: measures.tip_in_socket(scene, state)))


@pytest.fixture(scope='session')
def solve(task, scene):
  """(State [20], arm [20, 6], offset [20, 3], turn [20, 3]) -> arm [20, 6]."""
  return pushes.make_solve(task, scene)


@pytest.fixture(scope='session')
def place(solve):
  """(State [20], offset, turn) -> State [20] at rest with its tip there."""

  def apply(state, offset, turn):
    arm = np.zeros((WORLDS, 6), np.float32)
    for _ in range(6):
      arm = solve(state, arm, offset, turn)
    joints = np.zeros((WORLDS, 14), np.float32)
    joints[:, :6] = arm
    actuators = bench.to_actuators(joints)
    return state.replace(
      qpos=jnp.asarray(actuators), command=jnp.asarray(joints)
    )

  return apply


@pytest.fixture(scope='session')
def starts(reset):
  """State [20], the first of an episode."""
  return reset(jax.random.split(jax.random.PRNGKey(7), WORLDS))
