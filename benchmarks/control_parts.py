"""Learner and actors that `control_latency` times."""

from collections.abc import Callable
import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inputs import ACTION, CHUNK, layers_of, make_rows, PROPRIO
from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.robot.policy.numpy_policy import forward


def _nets(z_dim: int, batch: int) -> rlt.Networks:
  return rlt.make_networks(
    rlt.RltConfig(batch_size=batch), z_dim, PROPRIO, CHUNK, ACTION
  )


def learn(
  stop: threading.Event,
  z_dim: int,
  batch: int,
  tell: Callable[[], None] = lambda: None,
) -> None:
  """Updates without pause until `stop` is set.

  Args:
    stop: asked after each update.
    z_dim: Z.
    batch: rows.
    tell: called after each update.
  """
  nets = _nets(z_dim, batch)
  ring = replay.make_ring(10_000, batch)
  stored = replay.ReplayState(
    rows=make_rows(jax.random.key(1), z_dim, 10_000),
    pointer=jnp.int32(0),
    size=jnp.int32(10_000),
  )
  state = rlt.init(jax.random.key(0), nets)
  step = jax.jit(
    functools.partial(rlt.update, nets, ring.sample), donate_argnums=0
  )
  while not stop.is_set():
    state, metrics = step(state, stored)
    jax.block_until_ready(metrics)
    tell()


def actors(z_dim: int, batch: int) -> dict[str, Callable[[], np.ndarray]]:
  """Returns the two forms of one actor, compiled and warmed up."""
  nets = _nets(z_dim, batch)
  params = nets.init_actor(jax.random.key(0))
  given = np.zeros(z_dim), np.zeros(PROPRIO), np.zeros((CHUNK, ACTION))
  given = [np.float32(x) for x in given]
  flat = np.concatenate([x.ravel() for x in given])
  layers = [
    np.array(x) for pair in layers_of(params['params']['_Mlp_0']) for x in pair
  ]
  jitted = jax.jit(nets.actor)
  forms = {
    'NumPy': lambda: forward(layers, flat),
    'JAX': lambda: np.asarray(jitted(params, *given)),
  }
  for call in forms.values():
    call()
  return forms
