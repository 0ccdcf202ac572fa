"""Whether Q is of use: against returns, between chunks, and its gradient.

Three questions about the critics, on rows that were executed lately:

  value     is Q of the executed chunk the return that followed it?
  ranking   which of the actor's, the VLA's and a human's chunk does Q prefer?
  gradient  where does Q push the actor, against the pull of beta (Eq. 5)?

Q is the smallest value of the critics, as in the target (Eq. 3). The gradient
is that of their mean, as in the actor's loss. Nothing here draws a number or
changes a state.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents.rlt import networks
from rlt_jax.agents.rlt.networks import Networks
from rlt_jax.agents.rlt.train_state import TrainState
from rlt_jax.replay.returns import Experience, FAILURE
from rlt_jax.types import Array, Outcome, Source, Transition

_OUTCOMES = {
  'success': Outcome.SUCCESS,
  'failure': FAILURE,
  'time_out': Outcome.TIME_OUT,
}


class Judged(NamedTuple):
  """What the critics say of R rows.

  executed, actor, reference: [R] Q of the chunk that was executed, of the
    actor's mean and of the stored reference.
  cosine_action: [R] cosine of the gradients of Q and of the squared distance to
    the reference in the actor's chunk; NaN where one of them is 0.
  cosine_params: [] the same in the actor's params, of the means over the rows.
  gradient_ratio: [] |gradient of Q| / |gradient of beta * distance| in the
    actor's params; not finite where the latter is 0.
  """

  executed: Array
  actor: Array
  reference: Array
  cosine_action: Array
  cosine_params: Array
  gradient_ratio: Array


def judge(
  nets: Networks, state: TrainState, rows: Transition, present: Array
) -> Judged:
  """Asks critics and actor about rows; the actor reads the reference.

  Args:
    nets: static.
    state: of the agent.
    rows: [R, ...].
    present: bool [R]; the others do not count in the gradients of params.
  """
  config = nets.config
  reference = networks.zero_frozen_dims(
    rows.ref_chunk, config.frozen_action_dims
  )
  chunk, pull = jax.vjp(
    lambda params: nets.actor(
      params, rows.z_rl, rows.proprio, rows.ref_chunk
    ),
    state.actor_params,
  )  # fmt: skip

  def values(chunk: Array) -> Array:
    return nets.critic(state.critic_params, rows.z_rl, rows.proprio, chunk)

  # Rows do not mix, so the gradient of the sum is that of each row.
  up = jax.grad(lambda x: jnp.sum(jnp.mean(values(x), axis=-1)))(chunk)
  away = 2.0 * (chunk - reference)
  share = present / jnp.maximum(jnp.sum(present), 1)
  params_up, params_away = (
    flatten_util.ravel_pytree(pull(x * share[:, None, None]))[0]
    for x in (up, away)
  )
  return Judged(
    executed=jnp.min(values(rows.action_chunk), axis=-1),
    actor=jnp.min(values(chunk), axis=-1),
    reference=jnp.min(values(reference), axis=-1),
    cosine_action=jax.vmap(cosine)(
      up.reshape((len(up), -1)), away.reshape((len(away), -1))
    ),
    cosine_params=cosine(params_up, params_away),
    gradient_ratio=jnp.linalg.norm(params_up)
    / (config.beta * jnp.linalg.norm(params_away)),
  )


def cosine(x: Array, y: Array) -> Array:
  """Returns the cosine [] of two vectors [M]; NaN where one of them is 0."""
  return jnp.vdot(x, y) / (jnp.linalg.norm(x) * jnp.linalg.norm(y))


def summarize(
  judged: Judged, experience: Experience
) -> Mapping[str, float | None]:
  """Returns the numbers of a report; None where no row has a value.

  Args:
    judged: of the rows, NumPy.
    experience: the rows.

  Returns:
    rows: that were judged.
    rows_X, q_X, return_X: rows before an end X, mean Q of their executed chunk
      and mean return; X is success, failure or time_out.
    q_actor, q_reference: means. actor_above_reference: share of the rows.
    human_rows, human_above_actor, human_above_reference: of the rows that a
      human drove, the last of those whose reference is not the human's own.
    cosine_params, cosine_action, gradient_ratio: see `Judged`.
  """
  rows, present = experience.rows, experience.present
  found: dict[str, Any] = {'rows': int(present.sum())}
  for name, code in _OUTCOMES.items():
    ended = present & (experience.outcome == code)
    found[f'rows_{name}'] = int(ended.sum())
    found[f'q_{name}'] = _mean(judged.executed, ended)
    found[f'return_{name}'] = _mean(experience.returns, ended)
  found['q_actor'] = _mean(judged.actor, present)
  found['q_reference'] = _mean(judged.reference, present)
  found['actor_above_reference'] = _mean(
    judged.actor > judged.reference, present
  )
  human = present & (rows.source == Source.HUMAN)
  found['human_rows'] = int(human.sum())
  found['human_above_actor'] = _mean(judged.executed > judged.actor, human)
  # With `intervention_reference` 'human' both chunks are the same one.
  differs = np.any(rows.ref_chunk != rows.action_chunk, axis=(1, 2))
  found['human_above_reference'] = _mean(
    judged.executed > judged.reference, human & differs
  )
  found['cosine_params'] = float(judged.cosine_params)
  found['cosine_action'] = _mean(
    judged.cosine_action, present & np.isfinite(judged.cosine_action)
  )
  found['gradient_ratio'] = float(judged.gradient_ratio)
  return {
    name: x if x is not None and np.isfinite(x) else None
    for name, x in found.items()
  }


def _mean(values: np.ndarray, chosen: np.ndarray) -> float | None:
  return float(np.mean(values[chosen])) if chosen.any() else None
