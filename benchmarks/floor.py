"""Lower bound of the time of an update: its matrix products and its bytes.

Each shape of matrix product in one update is timed alone on this machine; the
floor is the sum over the products. The rest of the time of an update goes to
sampling, noise, normalization, optimizers and kernel launches.
"""

import collections
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Product(NamedTuple):
  """A product [m, k] x [k, n]."""

  m: int
  k: int
  n: int

  @property
  def flops(self) -> int:
    """Multiplications and additions."""
    return 2 * self.m * self.k * self.n


class Sizes(NamedTuple):
  """Z, P, C * A, hidden widths, rows per batch, number of critics."""

  z_dim: int
  proprio: int
  chunk: int
  hidden: tuple[int, ...]
  batch: int
  critics: int


def _layers(inputs: int, hidden: tuple[int, ...], outputs: int):
  widths = (inputs, *hidden, outputs)
  return list(zip(widths[:-1], widths[1:], strict=True))


def _forward(batch, layers):
  return [Product(batch, k, n) for k, n in layers]


def _weights(batch, layers):
  return [Product(k, batch, n) for k, n in layers]


def _inputs(batch, layers):
  return [Product(batch, n, k) for k, n in layers]


def products(sizes: Sizes) -> dict[Product, float]:
  """Returns the products of one critic step and half an actor step.

  The critics' input gradient is counted for the chunk only, and the actor's
  input gradient is not counted: an update needs neither of the rest.
  """
  state = sizes.z_dim + sizes.proprio
  actor = _layers(state + sizes.chunk, sizes.hidden, sizes.chunk)
  critic = _layers(state + sizes.chunk, sizes.hidden, 1)
  B, Q = sizes.batch, sizes.critics
  through = [(sizes.chunk, critic[0][1]), *critic[1:]]
  count: dict[Product, float] = collections.Counter()

  def add(shapes, times):
    for shape in shapes:
      count[shape] += times

  # Critic step: the next chunk (one actor call serves two critic steps), the
  # targets, the critics and their gradient.
  add(_forward(2 * B, actor), 0.5)
  add(_forward(B, critic), 2 * Q)
  add(_weights(B, critic), Q)
  add(_inputs(B, critic[1:]), Q)
  # Half an actor step.
  add(_forward(B, actor), 0.5)
  add(_forward(B, critic), 0.5 * Q)
  add(_inputs(B, through), 0.5 * Q)
  add(_weights(B, actor), 0.5)
  add(_inputs(B, actor[1:]), 0.5)
  return dict(count)


def flops(sizes: Sizes) -> float:
  """Returns the floating-point operations of one update's products."""
  return sum(p.flops * times for p, times in products(sizes).items())


def bytes_moved(sizes: Sizes) -> float:
  """Returns the bytes one update must move through memory.

  Parameters, both Adam moments and the targets are read and written once, and
  the sampled rows are read once.
  """
  state = sizes.z_dim + sizes.proprio + sizes.chunk
  actor = sum(k * n for k, n in _layers(state, sizes.hidden, sizes.chunk))
  critic = sum(k * n for k, n in _layers(state, sizes.hidden, 1))
  rows = sizes.batch * (2 * state + sizes.chunk)
  return 4.0 * (2 * (4 * critic * sizes.critics + 0.5 * 3 * actor) + 1.5 * rows)


def product_seconds(product: Product, min_s: float = 0.2) -> float:
  """Times one shape alone, in a loop on the device."""
  m, k, n = product
  left = jnp.asarray(np.random.default_rng(0).normal(size=(m, k)), jnp.float32)
  right = jnp.asarray(np.random.default_rng(1).normal(size=(k, n)), jnp.float32)

  @jax.jit
  def run(left, right, times):
    def body(_, carry):
      # The small feedback keeps XLA from hoisting the product out.
      out = left @ (right + 1e-12 * carry)
      return out[0, 0]

    return jax.lax.fori_loop(0, times, body, jnp.float32(0.0))

  times = 4
  while True:
    start = time.perf_counter()
    run(left, right, times).block_until_ready()
    start = time.perf_counter()
    run(left, right, times).block_until_ready()
    spent = time.perf_counter() - start
    if spent > min_s:
      return spent / times
    times = int(times * max(2.0, 1.2 * min_s / max(spent, 1e-6)))


def floor_seconds(sizes: Sizes) -> float:
  """Returns the seconds one update's products take, each timed alone."""
  return sum(product_seconds(p) * times for p, times in products(sizes).items())


def bandwidth(megabytes: int = 256) -> float:
  """Returns the memory bandwidth of a copy, bytes read and written per s."""
  x = jnp.zeros(megabytes * 250_000, jnp.float32)
  add = jax.jit(lambda x: x + 1.0)
  add(x).block_until_ready()
  start = time.perf_counter()
  for _ in range(5):
    add(x).block_until_ready()
  return 5 * 2 * x.nbytes / (time.perf_counter() - start)
