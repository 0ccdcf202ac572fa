"""Diagnoses beta by two numbers, with advice when it does not suit the task.

The actor settles where beta times the gradient of the squared distance equals
the gradient of Q, so a good beta depends on the reward, the action unit and
the length of episodes. Two numbers say where a run stands:

  ratio  beta * E|a - ref|^2 / E[Q], the price of leaving the reference. It
         warns of imitation, but stays small when the actor collapses.
  D      E|a - ref|^2 / variance of the reference when sampled again at the
         same state. It warns of both: 1 is as far as the reference's own
         spread, tens mean actions no demonstration has shown.

a is the actor's mean chunk.
"""

from collections.abc import Mapping

import chex
import jax.numpy as jnp

from rlt_jax.types import Array

RATIO_BAND = (0.01, 0.3)
DISTANCE_BAND = (1.0, 12.0)


def reference_variance(chunks: Array) -> float:
  """Returns the variance of the reference at a state, summed over C and A.

  Args:
    chunks: [R, B, C, A] normalized references, R >= 2 samples per state.

  Returns:
    E|ref - E[ref]|^2, normalized action units squared, mean over B.
  """
  chex.assert_rank(chunks, 4)
  if chunks.shape[0] < 2:
    raise ValueError(
      f'a variance needs two references per state: {chunks.shape[0]}.'
    )
  return float(jnp.mean(jnp.sum(jnp.var(chunks, axis=0, ddof=1), axis=(1, 2))))


def beta_report(
  metrics: Mapping[str, Array], variance: float | None = None
) -> str:
  """Returns one sentence with the ratio, and D if `variance` is given.

  Args:
    metrics: of `update`.
    variance: of `reference_variance`.
  """
  ratio = float(metrics['beta_ratio'])
  text = f'beta * E|a - ref|^2 / E[Q] is {ratio:.3g}'
  if variance is None:
    return text + '.'
  distance = distance_in_variances(metrics, variance)
  if distance is None:
    return (
      f'{text}. The reference is the same each time at the same state, so D, '
      'the squared distance from it over its variance, has no value.'
    )
  return (
    f'{text}, and D, the squared distance from the reference over its '
    f'variance, is {distance:.3g}.'
  )


def beta_advice(
  metrics: Mapping[str, Array], variance: float | None = None
) -> str | None:
  """Returns advice on how to change beta; None inside the useful bands.

  Args:
    metrics: of `update`.
    variance: of `reference_variance`; without it, or for a reference that does
      not vary, a collapse goes unnoticed.
  """
  report = beta_report(metrics, variance)
  ratio = float(metrics['beta_ratio'])
  distance = None
  if variance is not None:
    distance = distance_in_variances(metrics, variance)
  low, high = DISTANCE_BAND
  # D first: it sees both failures, the ratio only one of them.
  if distance is not None and distance > high:
    return (
      f'{report} D above {high:g}: the actor leaves the region the critics '
      'know and may collapse. Raise beta.'
    )
  if distance is not None and distance < low:
    return (
      f'{report} D below {low:g}: the actor imitates the reference and can '
      'hardly improve on it. Lower beta.'
    )
  low, high = RATIO_BAND
  if ratio > high:
    return (
      f'{report} The ratio above {high:g}: the reference outweighs Q, so the '
      'actor imitates. Lower beta, unless the critics are still new.'
    )
  if ratio < low:
    return (
      f'{report} The ratio below {low:g}: hardly anything holds the actor '
      'near the reference, unless it copies it. Check D; raise beta if D is '
      f'above {DISTANCE_BAND[1]:g}.'
    )
  return None


def distance_in_variances(
  metrics: Mapping[str, Array], variance: float
) -> float | None:
  """Returns D; None for a reference that does not vary.

  Args:
    metrics: of `update`.
    variance: of `reference_variance`.
  """
  if not variance > 0.0:
    return None
  return float(metrics['reference_distance']) / variance
