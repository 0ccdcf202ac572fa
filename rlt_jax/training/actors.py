"""E robots that execute one chunk a round and hand over what happened."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.agents import rlt
from rlt_jax.rollout import chunk_rollout as chunk_rollout_lib
from rlt_jax.rollout.perception import Perception
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Array, Features, Params, PRNGKey, Segment, Source


@chex.dataclass(frozen=True)
class ActorsState:
  """E worlds between rounds; leaves lead with [E].

  worlds: running episodes. looks: [E, d/s + 1, ...] what the policies have
  seen of them, `delay` steps ago and every stride since: the first is what
  decides now. key: consumed and replaced by every round.
  """

  worlds: insertion.State
  looks: Features
  key: PRNGKey


class CollectOutput(NamedTuple):
  """One round: the segment for replay, and how every robot came out of it.

  steps: int [E] control steps really driven. ended: bool [E], the episode
  ended in this round. outcome, length: int32 [E], of the ended ones.
  """

  segment: Segment
  steps: np.ndarray
  ended: np.ndarray
  outcome: np.ndarray
  length: np.ndarray


class Actors(NamedTuple):
  """begin: key -> RobotsState. round: (state, what drives or None) ->
  (state, Round); None lets the VLA drive."""

  begin: Callable[[PRNGKey], ActorsState]
  round: Callable[[ActorsState, Any], tuple[ActorsState, CollectOutput]]


class EnvFns(NamedTuple):
  """Whose robots they are: of one run, or of several side by side.

  split: (key, count) -> so many keys. world_keys: key -> [E] keys, one a
  world. see: (worlds [M * E], key) -> Features [M * E], the E robots M times.
  drive: (what drives, Features [E], key) -> normalised chunk [E, C, A] and
  int32 [E] who drives, see `types.Source`.
  """

  split: Callable[[PRNGKey, int], Any]
  world_keys: Callable[[PRNGKey], Array]
  see: Callable[[insertion.State, PRNGKey], Features]
  drive: Callable[[Any, Features, PRNGKey], tuple[Array, Array]]


def make(
  play: chunk_rollout_lib.RolloutFns,
  perception: Perception,
  nets: rlt.Networks,
  config: PracticeConfig,
) -> Actors:
  """Builds the E robots of one practice; its actor's params drive them."""
  act = jax.jit(functools.partial(rlt.act, nets))

  def drive(actor: Params, now: Features, key: PRNGKey):
    chunk = act(
      actor,
      now.z_rl,
      now.proprio,
      now.reference,
      key,
      nets.config.exploration_std,
    )
    return chunk, np.full(config.num_envs, Source.ACTOR, np.int32)

  crew = EnvFns(
    split=jax.random.split,
    world_keys=lambda key: jax.random.split(key, config.num_envs),
    see=perception.perceive,
    drive=drive,
  )
  return assemble(play, perception, crew, config, config.num_envs)


def assemble(
  play: chunk_rollout_lib.RolloutFns,
  perception: Perception,
  crew: EnvFns,
  config: PracticeConfig,
  count: int,
) -> Actors:
  """Builds robots from a crew.

  Args:
    play, perception, config: of the run.
    crew: see there.
    count: E, all robots that step together.

  Raises:
    ValueError: a delay, and actions that are not offsets.
  """
  if config.inference_delay and perception.space.mode != 'offset':
    raise ValueError(
      'A delay needs actions that are offsets from the pose that was seen: '
      f'{perception.space.mode!r}.'
    )
  decode = jax.jit(perception.space.decode)

  def see(worlds: insertion.State, key: PRNGKey) -> Features:
    percept = crew.see(worlds, key)
    return to_features(percept, config.chunk_size, config.inference_delay)

  def first_looks(worlds: insertion.State, key: PRNGKey) -> Features:
    # Nothing was seen before: the first look decides the first d steps too.
    percept = crew.see(worlds, key)
    looks = [
      to_features(percept, config.chunk_size, step)
      for step in range(0, config.inference_delay + 1, config.replay_stride)
    ]
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *looks)

  def begin(key: PRNGKey) -> ActorsState:
    world_key, see_key, key = crew.split(key, 3)
    worlds = play.begin(crew.world_keys(world_key), count)
    return ActorsState(
      worlds=worlds, looks=first_looks(worlds, see_key), key=key
    )

  def run_round(
    state: ActorsState, actor: Any
  ) -> tuple[ActorsState, CollectOutput]:
    act_key, see_key, reset_key, again_key, key = crew.split(state.key, 5)
    now = jax.tree.map(lambda x: x[:, 0], state.looks)
    if actor is None:
      chunk, source = now.reference, np.full(count, Source.VLA, np.int32)
    else:
      chunk, source = crew.drive(actor, now, act_key)
    check_finite(action_chunk=chunk)
    played = play.chunk(state.worlds, decode(chunk, now.pose))
    looks = jax.tree.map(
      lambda before, new: jnp.concatenate([before, new], axis=1),
      state.looks,
      _see_all(played, see, see_key, config.replay_stride),
    )
    rows = config.chunk_size // config.replay_stride
    features = jax.tree.map(lambda x: x[:, :rows], looks)
    final = jax.tree.map(lambda x: x[:, rows], looks)
    segment = Segment(
      features=features,
      final=final,
      command=played.command,
      reward=played.reward,
      valid=played.valid,
      terminated=played.terminated,
      truncated=played.truncated,
      source=jnp.asarray(np.repeat(source[:, None], config.chunk_size, axis=1)),
    )
    check_finite(observation=looks, command=played.command)
    ended = np.asarray(played.terminated | played.truncated)
    report = CollectOutput(
      segment=segment,
      steps=np.asarray(played.valid.sum(axis=1)),
      ended=ended,
      outcome=np.asarray(played.final.outcome),
      length=np.asarray(played.final.steps),
    )
    worlds, looks = played.final, jax.tree.map(lambda x: x[:, rows:], looks)
    if ended.any():
      fresh = play.begin(crew.world_keys(reset_key), count)
      worlds = chunk_rollout_lib.renew(fresh, worlds, ended)
      looks = jax.tree.map(
        lambda new, old: jnp.where(
          ended.reshape(-1, *[1] * (new.ndim - 1)), new, old
        ),
        first_looks(worlds, again_key),
        looks,
      )
    return ActorsState(worlds=worlds, looks=looks, key=key), report

  return Actors(begin, run_round)


def to_features(percept: Features, chunk: int, delay: int = 0) -> Features:
  """Keeps what replay stores: C steps of the reference, `delay` after it."""
  return Features(
    z_rl=percept.z_rl,
    proprio=percept.proprio,
    reference=percept.reference[:, delay : delay + chunk],
    pose=percept.pose,
  )


def _see_all(
  played: chunk_rollout_lib.Trajectory,
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
