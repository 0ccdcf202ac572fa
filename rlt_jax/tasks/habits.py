"""Habits of a person who teleoperates: what scripted experts are made of."""

import jax
import jax.numpy as jnp

from rlt_jax.types import Array, PRNGKey


def draw_steps(key: PRNGKey, span: tuple[int, int]) -> Array:
  """Draws a number of control steps from first to last of `span`."""
  return jax.random.randint(key, (), span[0], span[1] + 1)


def draw_speed(key: PRNGKey, span_mm_s: tuple[float, float]) -> Array:
  """Draws a speed, m/s, from a span in mm/s."""
  return (
    jax.random.uniform(key, minval=span_mm_s[0], maxval=span_mm_s[1]) * 1e-3
  )


def move_toward(value: Array, goal: Array, step: Array) -> Array:
  """Moves a vector toward a goal by at most `step` in length."""
  gap = goal - value
  length = jnp.sqrt(jnp.sum(gap**2) + 1e-12)
  return value + gap * jnp.minimum(1.0, step / length)


def slip(
  keys: tuple[PRNGKey, PRNGKey],
  timer: Array,
  rate: float,
  span: tuple[int, int],
) -> Array:
  """Returns the steps left of an unmotivated stop; at most 0 is none.

  Args:
    keys: two keys, consumed.
    timer: the steps left before.
    rate: probability per step that a stop begins.
    span: its length, steps.
  """
  begins = jax.random.uniform(keys[0]) < rate
  return jnp.where(begins, draw_steps(keys[1], span), timer - 1)


def resting_arm(key: PRNGKey, rest: Array, tremor_rad: float) -> Array:
  """Returns the slow tremor [7] of an arm that holds still, rad and m."""
  noise = jax.random.normal(key, rest.shape) * (tremor_rad * 0.31)
  return 0.95 * rest + noise
