"""The interface between an agent and all other code.

An agent learns online: it maps `Features` to action chunks and is updated from
replay rows. Training, evaluation and export use this interface only.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.types import Array, Features, Params, PRNGKey, Transition

Metrics = Mapping[str, Array]
# (replay state, key) -> rows [B, ...].
Sample = Callable[[Any, PRNGKey], Transition]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgentConfig:
  """The settings that every agent has; its own class adds to them."""

  batch_size: int = 64  # replay rows per gradient step (B)

  def __post_init__(self):
    if self.batch_size < 1:
      raise ValueError(f'batch_size must be at least 1: {self.batch_size}.')


class Sizes(NamedTuple):
  """The sizes an agent is built for: Z, P, C and A.

  frozen_action_dims: action entries that are always 0 in this task, such as
    those of a resting arm.
  horizon: H, steps of a chunk of the VLA; 0 where there is no VLA to ask.
  """

  z_dim: int
  proprio_dim: int
  chunk_size: int
  action_dim: int
  frozen_action_dims: tuple[int, ...] = ()
  horizon: int = 0


class Diagnosis(NamedTuple):
  """An agent's assessment of its own settings.

  text: a message for the user. numbers: for the report, by name; None where
  there is no value.
  """

  text: str
  numbers: Mapping[str, float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MlpPolicy:
  """How an actor runs on a robot host without JAX: a ReLU MLP.

  Its input is z_rl, the normalized proprioception and, with `reference_input`,
  the reference chunk [C * A]; its output is the chunk [C * A].

  apply: (policy params, z_rl [Z], proprio [P], reference [C, A]) -> mean chunk
    [C, A], with frozen entries at zero. Traceable.
  layers: policy params -> kernels [in, out], biases [out], alternating, NumPy
    float32. Frozen entries have rows and columns too; a host ignores them.
  hidden_dims: widths of the hidden layers.
  frozen_action_dims: entries of the output that the host sets to zero.
  exploration_std: of the noise that a host adds to explore.
  exploration_noise: 'per_chunk' or 'per_step'.
  """

  apply: Callable[[Params, Array, Array, Array], Array]
  layers: Callable[[Params], list[np.ndarray]]
  hidden_dims: tuple[int, ...]
  reference_input: bool
  frozen_action_dims: tuple[int, ...]
  exploration_std: float
  exploration_noise: str = 'per_chunk'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agent:
  """Pure functions of one agent, and the numbers others must know of it.

  config: the dataclass it was built from.
  batch_size: B, rows that `sample` draws.
  updates_per_dispatch: gradient updates that one call of `update` makes, as
    `utd_ratio` counts them.
  row_spec: shapes and dtypes of one row that it samples, as of
    `replay.transition_spec`; a field of None is not stored.
  init: key (consumed) -> state, a pytree.
  update: (state, replay_state, sample) -> (state, metrics). Traceable; `sample`
    is static. Callers jit it and donate the state. Metrics are float32 scalars;
    'finite' must be among them: 1 if all losses and params are finite, else 0.
  num_updates: state -> int32 [], updates made so far.
  policy_params: state -> the params that acting needs, a part of the state.
  act: (policy params, Features [B] with reference [B, C, A], key, explore) ->
    normalized chunks [B, C, A]. Traceable, also in `explore`: bool [], False
    gives the deterministic policy. The key is consumed.
  diagnose: optional, (metrics of updates, references [R, B, C, A] sampled R
    times at the same B states) -> Diagnosis. Says once, after the warm-up,
    whether the settings suit the task. An exception in it ends no run.
  diagnose_values: optional, (state, `replay.returns.Experience`) -> numbers
    for the report, by name, at several moments of practice: whether the values
    it has learned are of use. An exception in it ends no run.
  mlp_policy: optional; an agent without one cannot be exported to a robot.
  num_candidates: N, chunks of the VLA that it reads at each state as
    `Features.candidates`; 0 for those that read the reference alone.
  vla_share: optional, share of each batch that is drawn from the rows that a
    person drove, or the VLA where no person did, the rest from the others;
    where one kind is missing the other fills the batch. None draws from all
    rows alike.
  prior_noise: optional, (key, B) -> initial noise [B, H, A] of the VLA's flow.
    An agent that has it steers: its `act` returns such noise too, and what the
    VLA makes of it is executed. The prior drives the warm-up. The key is
    consumed.
  """

  config: AgentConfig
  batch_size: int
  updates_per_dispatch: int
  row_spec: Transition
  init: Callable[[PRNGKey], Any]
  update: Callable[[Any, Any, Sample], tuple[Any, Metrics]]
  num_updates: Callable[[Any], Array]
  policy_params: Callable[[Any], Params]
  act: Callable[[Params, Features, PRNGKey, Array | bool], Array]
  diagnose: Callable[[Metrics, np.ndarray], Diagnosis] | None = None
  diagnose_values: Callable[[Any, Any], Mapping[str, Any]] | None = None
  mlp_policy: MlpPolicy | None = None
  num_candidates: int = 0
  vla_share: float | None = None
  prior_noise: Callable[[PRNGKey, int], Array] | None = None
