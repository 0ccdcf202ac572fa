"""E robots that execute one chunk a round and hand over what happened."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import agent
from rlt_jax.replay import Features, Segment
from rlt_jax.rollout import play as play_lib
from rlt_jax.rollout.config import PracticeConfig
from rlt_jax.rollout.perception import Percept, Perception
from rlt_jax.sim import insertion
from rlt_jax.types import Array, Params, PRNGKey, Source


@chex.dataclass(frozen=True)
class RobotsState:
  """E worlds between rounds; leaves lead with [E].

  worlds: running episodes. looks: [E, d/s + 1, ...] what the policies have
  seen of them, `delay` steps ago and every stride since: the first is what
  decides now. key: consumed and replaced by every round.
  """

  worlds: insertion.State
  looks: Features
  key: PRNGKey


class Round(NamedTuple):
  """One round: the segment for replay, and the episodes that ended in it.

  steps: control steps really driven, all robots together. outcome, length:
  of the ended episodes.
  """

  segment: Segment
  steps: int
  outcome: np.ndarray
  length: np.ndarray


class Robots(NamedTuple):
  """begin: key -> RobotsState. round: (state, actor params or None) ->
  (state, Round); None lets the VLA drive."""

  begin: Callable[[PRNGKey], RobotsState]
  round: Callable[[RobotsState, Params | None], tuple[RobotsState, Round]]


def make(
  task: insertion.Task,
  perception: Perception,
  nets: agent.Networks,
  config: PracticeConfig,
) -> Robots:
  """Builds the E robots of one practice."""
  play = play_lib.make_play(task)
  fresh = play_lib.make_begin(task, config.robots)
  act = jax.jit(functools.partial(agent.act, nets))
  decode = jax.jit(perception.space.decode)

  if config.delay and perception.space.mode != 'offset':
    raise ValueError(
      'A delay needs actions that are offsets from the pose that was seen: '
      f'{perception.space.mode!r}.'
    )

  def see(worlds: insertion.State, key: PRNGKey) -> Features:
    percept = perception.perceive(worlds, key)
    return to_features(percept, config.chunk, config.delay)

  def first_looks(worlds: insertion.State, key: PRNGKey) -> Features:
    # Nothing was seen before: the first look decides the first d steps too.
    percept = perception.perceive(worlds, key)
    looks = [
      to_features(percept, config.chunk, step)
      for step in range(0, config.delay + 1, config.stride)
    ]
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *looks)

  def begin(key: PRNGKey) -> RobotsState:
    world_key, see_key, key = jax.random.split(key, 3)
    worlds = fresh(jax.random.split(world_key, config.robots))
    return RobotsState(
      worlds=worlds, looks=first_looks(worlds, see_key), key=key
    )

  def run_round(
    state: RobotsState, actor: Params | None
  ) -> tuple[RobotsState, Round]:
    act_key, see_key, reset_key, again_key, key = jax.random.split(state.key, 5)
    now = jax.tree.map(lambda x: x[:, 0], state.looks)
    if actor is None:
      chunk = now.reference
    else:
      chunk = act(
        actor, now.z_rl, now.proprio, now.reference, act_key, nets.config.sigma
      )
    check_finite(action_chunk=chunk)
    played = play(state.worlds, decode(chunk, now.pose))
    looks = jax.tree.map(
      lambda before, new: jnp.concatenate([before, new], axis=1),
      state.looks,
      _see_all(played, see, see_key, config.stride),
    )
    rows = config.chunk // config.stride
    features = jax.tree.map(lambda x: x[:, :rows], looks)
    final = jax.tree.map(lambda x: x[:, rows], looks)
    segment = Segment(
      features=features,
      final=final,
      command=played.command,
      measured=played.measured,
      reward=played.reward,
      valid=played.valid,
      terminated=played.terminated,
      truncated=played.truncated,
      source=jnp.full(
        (config.robots, config.chunk),
        Source.VLA if actor is None else Source.ACTOR,
        jnp.int32,
      ),
    )
    check_finite(observation=looks, command=played.command)
    ended = np.asarray(played.terminated | played.truncated)
    report = Round(
      segment=segment,
      steps=int(played.valid.sum()),
      outcome=np.asarray(played.final.outcome)[ended],
      length=np.asarray(played.final.steps)[ended],
    )
    worlds, looks = played.final, jax.tree.map(lambda x: x[:, rows:], looks)
    if ended.any():
      keys = jax.random.split(reset_key, config.robots)
      worlds = play_lib.renew(fresh(keys), worlds, ended)
      looks = jax.tree.map(
        lambda new, old: jnp.where(
          ended.reshape(-1, *[1] * (new.ndim - 1)), new, old
        ),
        first_looks(worlds, again_key),
        looks,
      )
    return RobotsState(worlds=worlds, looks=looks, key=key), report

  return Robots(begin, run_round)


def to_features(percept: Percept, chunk: int, delay: int = 0) -> Features:
  """Keeps what replay stores: C steps of the reference, `delay` after it."""
  return Features(
    z_rl=percept.z_rl,
    proprio=percept.proprio,
    reference=percept.reference[:, delay : delay + chunk],
    pose=percept.pose,
  )


def _see_all(
  played: play_lib.Played,
  see: Callable[[insertion.State, PRNGKey], Features],
  key: PRNGKey,
  stride: int,
) -> Features:
  """Queries the VLA at steps s, 2s, ..., C in one batch; returns [E, C/s, ...].

  Nobody waits for these looks: most only go to replay.
  """
  steps = played.states.steps.shape[0]
  num = played.states.steps.shape[1]
  inside = jax.tree.map(lambda x: x[stride:steps:stride], played.states)
  worlds = jax.tree.map(
    lambda x, y: jnp.concatenate([x, y[None]]).reshape(-1, *x.shape[2:]),
    inside,
    played.final,
  )
  return jax.tree.map(
    lambda x: jnp.swapaxes(x.reshape(-1, num, *x.shape[1:]), 0, 1),
    see(worlds, key),
  )


def check_finite(**arrays: Array) -> None:
  """Raises FloatingPointError that names the array with a NaN or infinity."""
  for name, tree in arrays.items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      if not np.isfinite(np.asarray(leaf)).all():
        spot = name + jax.tree_util.keystr(path)
        raise FloatingPointError(f'Every number must be finite: {spot}.')
