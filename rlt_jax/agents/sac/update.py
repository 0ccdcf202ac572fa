"""The update: critic steps, an actor step and a temperature step.

The entropy is not part of the target, as in HIL-SERL, DSRL and PLD.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from rlt_jax.agents.agent import Agent, Metrics, Sample, Sizes
from rlt_jax.agents.networks import all_finite, Critics
from rlt_jax.agents.sac import policy as policy_lib
from rlt_jax.agents.sac.config import SacConfig
from rlt_jax.types import Array, Features, Params, PRNGKey, Transition


class View(NamedTuple):
  """What the networks read at a state; leaves lead with [B].

  z_rl: [B, Z]. proprio: [B, P]. reference: [B, C, A] the VLA's chunk, None for
  methods that do not read it.
  """

  z_rl: Array
  proprio: Array
  reference: Array | None


class Actions(NamedTuple):
  """How a method acts: what its squashed output u means.

  dim: D, entries of u and of the flat action that critics read.
  observe: View [B] -> what the policy reads, [B, in].
  decode: (u [B, D], View [B]) -> flat action [B, D].
  executed: rows [B] -> the flat action that was executed, [B, D].
  """

  dim: int
  observe: Callable[[View], Array]
  decode: Callable[[Array, View], Array]
  executed: Callable[[Transition], Array]


class Extra(NamedTuple):
  """A loss that a method adds to that of the critics.

  init: key (consumed) -> params by name, beside those of the critics.
  loss: (critic params, their moving average, rows, actor params, key, updates
    so far) -> []; the params have the method's own by name.
  """

  init: Callable[[PRNGKey], dict[str, Params]]
  loss: Callable[[Params, Params, Transition, Params, PRNGKey, Array], Array]


_Q = 'q'  # the critics' params among those of a method


@chex.dataclass(frozen=True)
class SacState:
  """What an agent carries from one update to the next.

  log_temperature: []. updates: int32 [], critic steps so far. key: consumed and
  replaced by every update. The rest: pytrees of float32.
  """

  actor: Params
  critics: Params
  target_critics: Params
  log_temperature: Array
  actor_opt: optax.OptState
  critic_opt: optax.OptState
  temperature_opt: optax.OptState
  updates: Array
  key: PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sac:
  """The learner of one method; static.

  extra: loss of the critics that a method adds, or None. zero_mean: whether the
  policy's mean begins as zero. actor_starts: critic steps before the actor's
  first one.
  """

  config: SacConfig
  sizes: Sizes
  actions: Actions
  extra: Extra | None = None
  zero_mean: bool = False
  actor_starts: int = 0

  @property
  def policy(self) -> policy_lib.Policy:
    """Returns the policy network."""
    return policy_lib.Policy(
      self.config.hidden_dims,
      self.actions.dim,
      self.config.init_std,
      self.zero_mean,
    )

  @property
  def critics(self) -> Critics:
    """Returns the critic networks."""
    return Critics(
      self.config.hidden_dims, self.config.num_critics, self.config.layer_norm
    )

  def init(self, key: PRNGKey) -> SacState:
    """Returns a fresh state; the key is consumed."""
    actor_key, critic_key, key = jax.random.split(key, 3)
    z, p, c, a = self.sizes[:4]
    view = View(jnp.zeros((1, z)), jnp.zeros((1, p)), jnp.zeros((1, c, a)))
    actor = self.policy.init(actor_key, self.actions.observe(view))
    critic_key, extra_key = jax.random.split(critic_key)
    action = jnp.zeros((1, self.actions.dim))
    critics = {
      _Q: self.critics.init(critic_key, view.z_rl, view.proprio, action)
    }
    if self.extra is not None:
      critics |= self.extra.init(extra_key)
    log_temperature = jnp.log(jnp.float32(self.config.init_temperature))
    return SacState(
      actor=actor,
      critics=critics,
      # A copy, as one buffer cannot be donated twice.
      target_critics=jax.tree.map(jnp.copy, critics),
      log_temperature=log_temperature,
      actor_opt=self._optimizers()[0].init(actor),
      critic_opt=self._optimizers()[1].init(critics),
      temperature_opt=self._optimizers()[2].init(log_temperature),
      updates=jnp.zeros((), jnp.int32),
      key=key,
    )

  def draw(
    self, actor: Params, view: View, key: PRNGKey
  ) -> tuple[Array, Array]:
    """Returns flat actions [B, size] and log p(u) [B]; consumes the key."""
    u, log_p = policy_lib.draw(
      *self.policy.apply(actor, self.actions.observe(view)), key
    )
    return self.actions.decode(u, view), log_p

  def squashed(
    self, actor: Params, view: View, key: PRNGKey, explore: Array | bool
  ) -> Array:
    """Returns u [B, D]: a draw, or tanh of the mean without `explore`."""
    mean, log_std = self.policy.apply(actor, self.actions.observe(view))
    noise = jax.random.normal(key, mean.shape)
    return jnp.tanh(mean + explore * jnp.exp(log_std) * noise)

  def values(self, params: Params, view: View, action: Array) -> Array:
    """Returns the critics' values [..., Q]; leaves lead with [...]."""
    return self.critics.apply(params[_Q], view.z_rl, view.proprio, action)

  def update(
    self, state: SacState, replay_state: Any, sample: Sample
  ) -> tuple[SacState, Metrics]:
    """Runs `config.cycles_per_dispatch` cycles; see `agents.agent.Agent`."""
    config = self.config

    def critic_step(state: SacState, key: PRNGKey):
      sample_key, key = jax.random.split(key)
      rows = sample(replay_state, sample_key)
      state, metrics = self.critic_step(state, rows, key)
      return state, (metrics, rows)

    def cycle(state: SacState, _) -> tuple[SacState, Metrics]:
      key, actor_key, critic_key = jax.random.split(state.key, 3)
      keys = jax.random.split(critic_key, config.critic_updates_per_actor)
      state, (metrics, rows) = jax.lax.scan(critic_step, state, keys)
      last = jax.tree.map(lambda x: x[-1], rows)
      state, actor_metrics = self.actor_step(state, last, actor_key)
      return state.replace(key=key), metrics | actor_metrics

    state, metrics = jax.lax.scan(
      cycle, state, length=config.cycles_per_dispatch
    )
    metrics = jax.tree.map(jnp.mean, metrics)
    params = state.actor, state.critics, state.log_temperature
    return state, metrics | {'finite': all_finite((metrics, params))}

  def critic_step(
    self, state: SacState, rows: Transition, key: PRNGKey
  ) -> tuple[SacState, Metrics]:
    """Fits the critics to their targets; consumes the key."""
    config, actions = self.config, self.actions
    target_key, extra_key = jax.random.split(key)
    chosen: Array | slice = slice(None)
    if config.target_critics:
      subset_key, extra_key = jax.random.split(extra_key)
      chosen = jax.random.choice(
        subset_key, config.num_critics, (config.target_critics,), replace=False
      )
    later = View(rows.next_z_rl, rows.next_proprio, rows.next_ref_chunk)
    action, _ = self.draw(state.actor, later, target_key)
    wanted = target(
      self.values(state.target_critics, later, action)[:, chosen],
      rows.reward,
      rows.discount,
      config.target_clip,
    )

    def loss_of(params: Params) -> tuple[Array, tuple[Array, Array]]:
      q = self.values(params, view_of(rows), actions.executed(rows))
      loss = jnp.mean(jnp.sum((wanted[:, None] - q) ** 2, axis=-1))
      extra = jnp.zeros(())
      if self.extra is not None:
        extra = self.extra.loss(
          params,
          state.target_critics,
          rows,
          state.actor,
          extra_key,
          state.updates,
        )
      return loss + extra, (q, extra)

    (loss, (q, extra)), grads = jax.value_and_grad(loss_of, has_aux=True)(
      state.critics
    )
    change, opt = self._optimizers()[1].update(grads, state.critic_opt)
    params = optax.apply_updates(state.critics, change)
    metrics = {
      'critic_loss': loss,
      'q_mean': jnp.mean(q),
      'target_mean': jnp.mean(wanted),
      'td_abs': jnp.mean(jnp.abs(wanted[:, None] - q)),
    }
    if self.extra is not None:
      metrics['conservative_loss'] = extra
    return state.replace(
      critics=params,
      critic_opt=opt,
      target_critics=optax.incremental_update(
        params, state.target_critics, config.tau
      ),
      updates=state.updates + 1,
    ), metrics

  def actor_step(
    self, state: SacState, rows: Transition, key: PRNGKey
  ) -> tuple[SacState, Metrics]:
    """Moves actor and temperature by one step each; consumes the key."""
    view = view_of(rows)
    temperature = jnp.exp(state.log_temperature)

    def loss_of(actor: Params) -> tuple[Array, Array]:
      action, log_p = self.draw(actor, view, key)
      q = self.values(state.critics, view, action)
      return actor_loss(q, log_p, temperature), log_p

    (loss, log_p), grads = jax.value_and_grad(loss_of, has_aux=True)(
      state.actor
    )
    entropy = -jnp.mean(log_p)
    missing = entropy - self.config.target_entropy * self.actions.dim
    change, opt = self._optimizers()[0].update(grads, state.actor_opt)
    # The gradient of temperature * missing by the temperature's logarithm.
    slope, temperature_opt = self._optimizers()[2].update(
      temperature * missing, state.temperature_opt
    )
    moved = state.replace(
      actor=optax.apply_updates(state.actor, change),
      actor_opt=opt,
      log_temperature=state.log_temperature + slope,
      temperature_opt=temperature_opt,
    )
    waits = state.updates < self.actor_starts
    state = jax.tree.map(
      lambda old, new: jnp.where(waits, old, new), state, moved
    )
    return state, {
      'actor_loss': loss,
      'entropy': entropy / self.actions.dim,
      'temperature': temperature,
    }

  def _optimizers(self) -> list[optax.GradientTransformation]:
    config = self.config
    rates = config.actor_lr, config.critic_lr, config.temperature_lr
    return [optax.adam(rate) for rate in rates]


def observe_state(view: View) -> Array:
  """Returns z_rl and proprioception [B, Z + P], without the reference."""
  return jnp.concatenate([view.z_rl, view.proprio], axis=-1)


def make_agent(
  sac: Sac,
  *,
  row_spec: Transition,
  act: Callable[[Params, Features, PRNGKey, Array | bool], Array],
  **optional: Any,
) -> Agent:
  """Returns the agent of a learner.

  Args:
    sac: the learner.
    row_spec, act: see `agents.agent.Agent`.
    **optional: its optional fields.
  """
  config = sac.config
  return Agent(
    config=config,
    batch_size=config.batch_size,
    updates_per_dispatch=(
      config.cycles_per_dispatch * config.critic_updates_per_actor
    ),
    row_spec=row_spec,
    init=sac.init,
    update=sac.update,
    num_updates=lambda state: state.updates,
    policy_params=lambda state: state.actor,
    act=act,
    **optional,
  )


def view_of(rows: Transition) -> View:
  """Returns what the networks read at the rows' start."""
  return View(rows.z_rl, rows.proprio, rows.ref_chunk)


def target(
  next_q: Array,
  reward: Array,
  discount: Array,
  clip: tuple[float, float] | None,
) -> Array:
  """Returns reward + discount * min(next_q), bounded by `clip`, [B].

  Args:
    next_q: [B, Q] target critics at the successor.
    reward: [B] discounted rewards of the rows' n steps.
    discount: [B] gamma**n, 0 where the episode terminated.
    clip: bounds on the target, or None.
  """
  found = reward + discount * jnp.min(next_q, axis=-1)
  return found if clip is None else jnp.clip(found, *clip)


def actor_loss(q: Array, log_p: Array, temperature: Array) -> Array:
  """Returns temperature * log p - mean value, [].

  Args:
    q: [B, Q] values of the policy's actions; their mean counts, as in SERL.
    log_p: [B] log densities of the squashed outputs.
    temperature: [].
  """
  return jnp.mean(temperature * log_p - jnp.mean(q, axis=-1))
