"""Q-chunking with a frozen VLA: critics choose among N of its chunks.

The behavior policy of Q-chunking (arXiv 2507.07969) is the VLA itself: at a
state it proposes N chunks, and the one of the largest value is executed. There
is no actor and no penalty; what keeps the policy near the demonstrations is
that only the VLA proposes. The target values the chunk that the critics would
choose at the successor.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from rlt_jax import replay
from rlt_jax.agents.agent import Agent, Metrics, Sample, Sizes
from rlt_jax.agents.best_of_n.config import BestOfNConfig
from rlt_jax.agents.networks import (
  all_finite,
  Critics,
  flatten,
  moving_entries,
)
from rlt_jax.types import Array, Features, Params, PRNGKey, Transition


@chex.dataclass(frozen=True)
class BestOfNState:
  """What the agent carries from one update to the next.

  params, target_params: of the critics. opt_state: Adam's. updates: int32 [],
  made so far. key: consumed and replaced by every update.
  """

  params: Params
  target_params: Params
  opt_state: optax.OptState
  updates: Array
  key: PRNGKey


class ChunkCritics:
  """The critics of whole chunks; holds no parameters."""

  def __init__(self, config: BestOfNConfig, sizes: Sizes):
    """Binds sizes; resting entries of an action are not read."""
    self._critics = Critics(
      config.hidden_dims, config.num_critics, config.layer_norm
    )
    self._moving, self._sizes = moving_entries(sizes), sizes

  def init(self, key: PRNGKey) -> Params:
    """Returns fresh parameters; the key is consumed."""
    z, p, c = self._sizes[:3]
    one = [jax.ShapeDtypeStruct((1, n), jnp.float32) for n in (z, p)]
    chunk = jax.ShapeDtypeStruct((1, c * len(self._moving)), jnp.float32)
    return self._critics.lazy_init(key, *one, chunk)

  def __call__(
    self, params: Params, z_rl: Array, proprio: Array, chunks: Array
  ) -> Array:
    """Returns the values [B, N, Q] of N chunks [B, N, C, A] at a state [B]."""
    flat = flatten(chunks, self._moving)
    z_rl, proprio = (
      jnp.broadcast_to(x[:, None], (*flat.shape[:2], x.shape[-1]))
      for x in (z_rl, proprio)
    )
    return self._critics.apply(params, z_rl, proprio, flat)


def make(config: BestOfNConfig, sizes: Sizes) -> Agent:
  """Builds the agent; see `agents.agent.Agent`."""
  critics, optimizer = ChunkCritics(config, sizes), optax.adam(config.critic_lr)
  row = replay.transition_spec(*sizes[:4])
  chunk = row.ref_chunk

  def init(key: PRNGKey) -> BestOfNState:
    key, init_key = jax.random.split(key)
    params = critics.init(init_key)
    return BestOfNState(
      params=params,
      # A copy, as one buffer cannot be donated twice.
      target_params=jax.tree.map(jnp.copy, params),
      opt_state=optimizer.init(params),
      updates=jnp.zeros((), jnp.int32),
      key=key,
    )

  def act(
    params: Params, features: Features, key: PRNGKey, explore: Array | bool
  ) -> Array:
    # As published it explores by the VLA's own spread alone.
    del key, explore
    q = critics(params, features.z_rl, features.proprio, features.candidates)
    return choose(q, features.candidates)

  return Agent(
    config=config,
    batch_size=config.batch_size,
    updates_per_dispatch=config.updates_per_dispatch,
    row_spec=row._replace(
      ref_chunk=None,
      next_ref_chunk=None,
      source=None,
      next_candidates=jax.ShapeDtypeStruct(
        (config.num_candidates, *chunk.shape), chunk.dtype
      ),
    ),
    init=init,
    update=functools.partial(update, critics, optimizer, config),
    num_updates=lambda state: state.updates,
    policy_params=lambda state: state.params,
    act=act,
    num_candidates=config.num_candidates,
  )


def choose(q: Array, candidates: Array) -> Array:
  """Returns the chunk [B, C, A] of the largest mean value.

  Args:
    q: [B, N, Q] values of the candidates.
    candidates: [B, N, C, A].
  """
  best = jnp.argmax(jnp.mean(q, axis=-1), axis=1)
  return jnp.take_along_axis(candidates, best[:, None, None, None], 1)[:, 0]


def target(
  q: Array,
  target_q: Array,
  reward: Array,
  discount: Array,
  clip: tuple[float, float] | None,
) -> Array:
  """Returns the targets [B] of the executed chunks.

  The critics choose among the candidates at the successor, the target critics
  value their choice; both by the mean over the critics.

  Args:
    q, target_q: [B, N, Q] at the successor.
    reward: [B] discounted rewards of the rows' n steps.
    discount: [B] gamma**n, 0 where the episode terminated.
    clip: bounds on the target, or None.
  """
  best = jnp.argmax(jnp.mean(q, axis=-1), axis=1)
  value = jnp.take_along_axis(jnp.mean(target_q, -1), best[:, None], 1)[:, 0]
  found = reward + discount * value
  return found if clip is None else jnp.clip(found, *clip)


def update(
  critics: ChunkCritics,
  optimizer: optax.GradientTransformation,
  config: BestOfNConfig,
  state: BestOfNState,
  replay_state: Any,
  sample: Sample,
) -> tuple[BestOfNState, Metrics]:
  """Runs `config.updates_per_dispatch` gradient steps.

  Args:
    critics, optimizer, config: static.
    state: donate it when jitting.
    replay_state: read only; holds at least one batch of rows.
    sample: static; draws B rows.

  Returns:
    The new state and metrics; see `agents.agent.Agent`.
  """

  def step(state: BestOfNState, _) -> tuple[BestOfNState, Metrics]:
    key, sample_key = jax.random.split(state.key)
    rows = sample(replay_state, sample_key)
    wanted, gain = _targets(critics, config, state, rows)

    def loss_of(params: Params) -> tuple[Array, Array]:
      q = critics(params, rows.z_rl, rows.proprio, rows.action_chunk[:, None])
      q = q[:, 0]
      return jnp.mean(jnp.sum((wanted[:, None] - q) ** 2, axis=-1)), q

    (loss, q), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    change, opt_state = optimizer.update(grads, state.opt_state)
    params = optax.apply_updates(state.params, change)
    state = BestOfNState(
      params=params,
      target_params=optax.incremental_update(
        params, state.target_params, config.tau
      ),
      opt_state=opt_state,
      updates=state.updates + 1,
      key=key,
    )
    return state, {
      'critic_loss': loss,
      'q_mean': jnp.mean(q),
      'target_mean': jnp.mean(wanted),
      'td_abs': jnp.mean(jnp.abs(wanted[:, None] - q)),
      'candidate_gain': gain,
    }

  state, metrics = jax.lax.scan(step, state, length=config.updates_per_dispatch)
  metrics = jax.tree.map(jnp.mean, metrics)
  return state, metrics | {'finite': all_finite((metrics, state.params))}


def _targets(
  critics: ChunkCritics,
  config: BestOfNConfig,
  state: BestOfNState,
  rows: Transition,
) -> tuple[Array, Array]:
  """Returns the targets [B], and what choosing gains over the mean, []."""
  at = rows.next_z_rl, rows.next_proprio, rows.next_candidates
  q = critics(state.params, *at)
  wanted = target(
    q,
    critics(state.target_params, *at),
    rows.reward,
    rows.discount,
    config.target_clip,
  )
  value = jnp.mean(q, axis=-1)
  return wanted, jnp.mean(jnp.max(value, axis=1) - jnp.mean(value, axis=1))
