"""Several seeds of one practice side by side, in one process.

Seed by seed this is `practice`: the same keys, rounds, rows and updates, so a
seed is what a run of its own would be, up to rounding, which contact and
learning magnify. What differs is the width: all seeds' worlds step in one
batch, the VLA sees them in one, actors and updates are vmapped over the seeds.

Seeds drive the same rounds but not the same control steps, as episodes end at
different times. A seed whose own steps are spent is done: its state stands
still, whatever its worlds and its share of a batch still compute is thrown
away. Likewise updates: a dispatch is made while any seed owes one, and only
those that do keep it.
"""

from collections.abc import Callable, Sequence
import concurrent.futures
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.rollout.chunk_rollout import RolloutFns
from rlt_jax.rollout.perception import Perception
from rlt_jax.training import actors as actors_lib
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import vmapped
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.loop import PracticeState

# Metrics of a round, one seed's; None where the seed was done before it.
RoundMetrics = dict[str, Any] | None


class MultiSeed(NamedTuple):
  """Practice of S seeds.

  Their PracticeState leads with [S] in every leaf, counters are NumPy, except
  what belongs to robots and leads with [S * E]: worlds, looks, segments.

  begin: () -> state. run: (state, on_round) -> state, until all seeds are
  done; on_round(state, [RoundMetrics of each seed]) after every round.
  split: state -> one PracticeState a seed, as `practice` has it. join: its
  inverse; the seeds need not be in the same round.
  """

  nets: rlt.Networks
  begin: Callable[[], PracticeState]
  run: Callable[..., PracticeState]
  split: Callable[[PracticeState], list[PracticeState]]
  join: Callable[[Sequence[PracticeState]], PracticeState]


def make(
  play: RolloutFns,
  perception: Perception,
  config: PracticeConfig,
  seeds: Sequence[int],
  place: Callable[[Any], Any] | None = None,
) -> MultiSeed:
  """Builds the practice of several seeds.

  Args:
    play, perception: shared by all.
    config: shared by all; its own seed does not matter.
    seeds: S different ones.
    place: spreads a tree whose leaves lead with [S] or [S * E] over devices,
      see `sharding.spread`; None stays on one.

  Raises:
    ValueError: no seed, or one twice.
  """
  if not seeds or len(set(seeds)) != len(seeds):
    raise ValueError(f'seeds must be one or more, none twice: {list(seeds)}.')
  width, count = len(seeds), config.num_envs
  sizes = (
    perception.z_dim, perception.proprio_dim, config.chunk_size,
    perception.action_dim,
  )  # fmt: skip
  nets = rlt.make_networks(config.agent, *sizes)
  crew = vmapped.make_crew(perception, nets, config, width)
  robots = actors_lib.assemble(play, perception, crew, config, width * count)
  learner = vmapped.make_learner(
    replay.transition_spec(*sizes), perception.space.encode, nets, config, width
  )
  hold = jax.jit(vmapped.hold)

  def begin() -> PracticeState:
    keys = jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])
    robots_keys, learner_keys = crew.split(_placed(place, keys), 2)
    state, first = robots.round(robots.begin(robots_keys), None)
    learning = learner.init(learner_keys, first.segment)
    none = np.full((width, loop_lib.HISTORY), -1, np.int32)
    everyone = np.ones(width, bool)
    return _placed(place, PracticeState(
      robots=state,
      learner=learning,
      pending=first.segment,
      actor=jax.tree.map(jnp.copy, learning.train.actor_params),
      env_steps=first.steps.reshape(width, -1).sum(1, dtype=np.int64),
      outcome=_append(none, first.outcome, first.ended, everyone),
      length=_append(none, first.length, first.ended, everyone),
    ))  # fmt: skip

  def run(state: PracticeState, on_round) -> PracticeState:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      while (active := state.env_steps < config.num_env_steps).any():
        start = time.perf_counter()
        warm = state.env_steps < config.vla_warmup_steps
        work = pool.submit(learner.learn, state.learner, state.pending, active)
        if place is not None:
          # Programs that devices share must start in one order on all.
          concurrent.futures.wait([work])
        try:
          robots_state, report = robots.round(
            state.robots, None if warm.all() else (state.actor, warm)
          )
        finally:
          learning, metrics = work.result()
        steps = report.steps.reshape(width, -1).sum(1)
        robots_state, pending = hold(
          active, (robots_state, report.segment), (state.robots, state.pending)
        )
        state = _placed(place, PracticeState(
          robots=robots_state,
          learner=learning,
          pending=pending,
          # A copy: the learner donates its own.
          actor=jax.tree.map(jnp.copy, learning.train.actor_params),
          env_steps=state.env_steps + steps * active,
          outcome=_append(state.outcome, report.outcome, report.ended, active),
          length=_append(state.length, report.length, report.ended, active),
        ))  # fmt: skip
        _check_finite(seeds, state, metrics)
        spent = time.perf_counter() - start
        on_round(state, [
          (metrics[i] or {})
          | {'round_s': spent, 'phase': 'warm-up' if warm[i] else 'practice'}
          if active[i] else None
          for i in range(width)
        ])  # fmt: skip
    return state

  def split(state: PracticeState) -> list[PracticeState]:
    rest, of_robots = _part(state)

    def one(i):
      rows = slice(i * count, (i + 1) * count)
      mine = jax.tree.map(lambda x: x[i], rest)
      learner = mine.learner
      mine = mine.replace(
        env_steps=int(mine.env_steps),
        actor=jax.tree.map(np.asarray, mine.actor),
        learner=learner.replace(owed=int(learner.owed), rows=int(learner.rows)),
      )
      return _whole(mine, jax.tree.map(lambda x: x[rows], of_robots))

    return [one(i) for i in range(width)]

  def join(states: Sequence[PracticeState]) -> PracticeState:
    rests, of_robots = zip(*map(_part, states), strict=True)
    rest = jax.tree.map(_stack, *rests)
    rest = rest.replace(actor=jax.tree.map(jnp.asarray, rest.actor))
    together = jax.tree.map(lambda *x: jnp.concatenate(x), *of_robots)
    return _placed(place, _whole(rest, together))

  return MultiSeed(nets, begin, run, split, join)


def _part(state: PracticeState) -> tuple[PracticeState, Any]:
  """Returns the state without what leads with its robots, and that."""
  robots, learner = state.robots, state.learner
  rest = state.replace(
    robots=robots.key, learner=learner.replace(previous=None), pending=None
  )
  return rest, (robots.replace(key=None), learner.previous, state.pending)


def _whole(rest: PracticeState, of_robots: Any) -> PracticeState:
  """Puts together what `_part` took apart."""
  robots, previous, pending = of_robots
  return rest.replace(
    robots=robots.replace(key=rest.robots),
    learner=rest.learner.replace(previous=previous),
    pending=pending,
  )


def _stack(*leaves: Any) -> Any:
  on_device = isinstance(leaves[0], jax.Array)
  return jnp.stack(leaves) if on_device else np.stack(leaves)


def _placed(place: Callable[[Any], Any] | None, tree: Any) -> Any:
  """Places what is on a device; counters stay on the host."""
  if place is None:
    return tree
  return jax.tree.map(
    lambda x: place(x) if isinstance(x, jax.Array) else x, tree
  )


def _append(
  history: np.ndarray, new: np.ndarray, ended: np.ndarray, active: np.ndarray
) -> np.ndarray:
  """Appends [S * E] to [S, HISTORY] where episodes of active seeds ended."""
  width = len(history)
  ended = ended.reshape(width, -1) & active[:, None]
  rows = zip(history, new.reshape(width, -1), ended, strict=True)
  return np.stack([loop_lib.append(h, x[own]) for h, x, own in rows])


def _check_finite(
  seeds: Sequence[int], state: PracticeState, metrics: Sequence[RoundMetrics]
) -> None:
  for seed, steps, own in zip(seeds, state.env_steps, metrics, strict=True):
    if own is not None and own['finite'] < 1.0:
      raise FloatingPointError(
        'Losses and parameters must stay finite: '
        f'seed {seed}, step {steps}, {own}.'
      )
