"""Gates about where a method starts, before any update.

They run the agent with fresh parameters on the start states of all evaluations.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.comparison.verdict import Verdict
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting import statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.signals import StopRequest
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Array

_DRAWS = 8  # of the noise at each state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
  """A row before practice. stop: asked during the evaluations."""

  config: PracticeConfig
  setup: TaskSetup
  evaluator: evaluator_lib.Evaluator
  stop: StopRequest

  def run(
    self, policy: evaluator_lib.Policy | evaluator_lib.Steering
  ) -> Episodes:
    """Evaluates a policy in `num_final_episodes` episodes."""
    with self.stop:
      return self.stop.call(
        self.evaluator.run, policy, self.config.num_final_episodes
      )[0]

  def fresh_policy(self) -> evaluator_lib.Policy | evaluator_lib.Steering:
    """Returns the agent with the parameters that it begins with."""
    agent = self.setup.agent
    params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
    return evaluator_lib.agent_policy(
      agent, params, chunk_size=self.config.chunk_size, explore=False
    )


def open_start(config: PracticeConfig, assets: str) -> Start:
  """Builds what the gates need.

  Args:
    config: of the row.
    assets: folder with vla/ and token/; empty for the shipped ones.
  """
  setup = setup_lib.make(config, assets)
  return Start(
    config=config,
    setup=setup,
    evaluator=setup_lib.make_evaluator(setup, config),
    stop=StopRequest('at once; this gate is computed again'),
  )


def starts_at_base(start: Start) -> Verdict:
  """Compares the fresh agent with the VLA that runs as many steps a query."""
  base = start.run(evaluator_lib.base_policy(start.config.chunk_size))
  return same_success(base, start.run(start.fresh_policy()))


def noise_is_base(start: Start) -> Verdict:
  """Compares the noise that an agent's warm-up draws with independent noise."""
  agent, chunk = start.setup.agent, start.config.chunk_size
  policy = evaluator_lib.Steering(
    lambda features, key: agent.prior_noise(key, len(features.z_rl)), chunk
  )
  base, other = start.run(evaluator_lib.base_policy(chunk)), start.run(policy)
  numbers = same_success(base, other).numbers
  return Verdict(numbers['start'] >= numbers['base'] - 0.1, numbers)


def noise_steers(start: Start) -> Verdict:
  """Compares how far latent and independent noise spread the chunks.

  The share of the latent is what is left of the prior's variance without that
  of the agent's noise for one and the same latent.
  """
  agent, perception = start.setup.agent, start.setup.perception
  chunk, sizes = start.config.chunk_size, start.evaluator.sizes
  worlds = start.evaluator.initial_states(sizes.large)
  keys = jax.random.split(jax.random.PRNGKey(0), _DRAWS)
  features = perception.perceive(worlds, jax.random.PRNGKey(1))
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))

  def variance(noise: list[Array]) -> float:
    chunks = perception.sample(worlds, jnp.stack(noise, axis=1))
    return float(jnp.mean(jnp.var(chunks[:, :, :chunk], axis=1, ddof=1)))

  seen = features.steps(0, chunk)
  shape = (sizes.large, *features.reference.shape[1:])
  independent = variance([jax.random.normal(key, shape) for key in keys])
  prior = variance([agent.prior_noise(key, sizes.large) for key in keys])
  rest = variance([agent.act(params, seen, key, False) for key in keys])
  share = float(np.sqrt(max(prior - rest, 0.0) / independent))
  return Verdict(share >= 0.1, {'share_of_spread': share})


def same_success(base: Episodes, other: Episodes) -> Verdict:
  """Says whether two success rates may be the same."""
  low, high = statistics.difference_interval(other.success, base.success)
  return Verdict(
    low <= 0.0 <= high,
    {
      'base': float(np.mean(base.success)),
      'start': float(np.mean(other.success)),
      'difference': [low, high],
      'episodes': len(base.success),
    },
  )
