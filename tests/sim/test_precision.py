"""Products of the simulator ask for full float32 precision."""

from collections.abc import Iterator

import jax
import jax.extend as jex
import jax.numpy as jnp
import pytest

from rlt_jax import tasks
from rlt_jax.envs import actions
from rlt_jax.sim import compilation
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks.ethernet import task as task_lib


def _products(jaxpr) -> Iterator:
  """Yields every dot_general of a jaxpr and of those inside it."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      yield equation
    for value in jax.tree.leaves(
      equation.params,
      is_leaf=lambda x: isinstance(x, jex.core.ClosedJaxpr | jex.core.Jaxpr),
    ):
      if isinstance(value, jex.core.ClosedJaxpr):
        yield from _products(value.jaxpr)
      elif isinstance(value, jex.core.Jaxpr):
        yield from _products(value)


def _low(function, *args) -> tuple[int, int]:
  """Returns how many products there are, and how many are not full."""
  # A compiled function has compiler options, which no outer trace takes.
  compiled = hasattr(function, 'trace')
  jitted = function if compiled else jax.jit(function)
  found = list(_products(jitted.trace(*args).jaxpr.jaxpr))
  full = (jax.lax.Precision.HIGHEST,) * 2
  return len(found), sum(x.params['precision'] != full for x in found)


@pytest.fixture(scope='module')
def task():
  return task_lib.make()


@pytest.fixture(scope='module')
def state(task):
  return jax.eval_shape(task.reset, jax.random.PRNGKey(0))


def test_a_product_is_low_without_the_decorator():
  a = jnp.ones((3, 3))
  assert _low(lambda x: x @ x, a) == (1, 1)
  assert _low(full_precision(lambda x: x @ x), a) == (1, 0)
  # Whatever is compiled with the simulator: cheats, pushes, probes.
  assert _low(compilation.jit(lambda x: x @ x), a) == (1, 0)
  both = compilation.jit(lambda x, n: x @ x * n, static_argnames='n')
  assert both(a, n=2)[0, 0] == 6.0


def test_physics_and_verdict_are_full(task, state):
  products, low = _low(task.step, state, state.command)
  assert products > 20 and low == 0


def test_start_and_kinematics_are_full(task, state):
  matrix = jnp.eye(3)
  for function, args in (
    (task.reset, (jax.random.PRNGKey(0),)),
    (task.tip.pose, (state,)),
    (task.tip.solve, (state, matrix[0], matrix)),
    (task.true_pose, (state,)),
  ):
    products, low = _low(function, *args)
    assert products and low == 0


@pytest.mark.parametrize('name', ['ethernet', 'zip_tie'])
def test_operators_are_full(name):
  task = tasks.load(name)
  key = jax.random.PRNGKey(0)
  state, expert = jax.eval_shape(task.reset, key), task.make_expert()
  memory = jax.eval_shape(expert.begin, key, state, jnp.int32(0))
  for function, args in (
    (expert.begin, (key, state, jnp.int32(0))),
    (expert.act, (key, memory, state)),
  ):
    products, low = _low(function, *args)
    assert products and low == 0


def test_twists_of_the_tip_are_full(task, state):
  tip = actions.make(task, 'tip')
  products, low = _low(tip.command, state, jnp.zeros(6))
  assert products and low == 0


def test_rays_are_full(task, state):
  worlds = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), state
  )
  poses = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
    task.render.poses.trace(worlds).out_info,
  )
  for function, argument in (
    (task.render.poses, worlds),
    (task.render.cast, poses),
  ):
    products, low = _low(function, argument)
    assert products and low == 0
