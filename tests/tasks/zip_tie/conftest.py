"""The zip tie task and its compiled functions, shared by its tests."""

import jax
import pytest

from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.zip_tie import push_runs
from rlt_jax.tasks.zip_tie import scene as scene_lib
from rlt_jax.tasks.zip_tie import task as task_lib

# Every batched call uses this many worlds: a new shape is a new compilation.
WORLDS = 20


@pytest.fixture(scope='session')
def task():
  return task_lib.make()


@pytest.fixture(scope='session')
def scene():
  return scene_lib.load()


@pytest.fixture(scope='session')
def starts(task):
  """State [20], the first of an episode."""
  keys = jax.random.split(jax.random.PRNGKey(7), WORLDS)
  return jit(jax.vmap(task.reset))(keys)


@pytest.fixture(scope='session')
def step(task):
  """(State [20], command [20, A]) -> State [20]."""
  return jit(jax.vmap(task.step))


@pytest.fixture(scope='session')
def solve(task, scene):
  """Of `push_runs.make_solve`."""
  return push_runs.make_solve(task, scene)
