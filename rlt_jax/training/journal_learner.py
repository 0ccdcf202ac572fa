"""The learner beside an arm: follows a journal, publishes weights.

It is the learner of practice, in a process of its own. Episodes come from the
journal, so a learner that dies loses nothing: the next one goes on from its
last checkpoint and reads again what came after. Weights go out as a snapshot
after every episode; the loop takes the newest between two of its own.
"""

from collections.abc import Mapping
import json
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.export import bundle as bundle_lib
from rlt_jax.export import checkpoint
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.recording import episodes, segments
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.training import learner as learner_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Features, Segment


def to_segment(arrays: Mapping[str, np.ndarray]) -> Segment:
  """Returns one dict of `segments.cut` as a Segment of one robot."""
  sides = {
    side: Features(*(arrays[f'{side}/{x}'][None] for x in Features._fields))
    for side in ('features', 'final')
  }
  names = set(Segment._fields) - set(sides)
  return Segment(**sides, **{name: arrays[name][None] for name in names})


class JournalLearner:
  """Follows one journal; `catch_up` is called again and again."""

  def __init__(
    self,
    *,
    journal: str | os.PathLike[str],
    workdir: str | os.PathLike[str],
    spec: BundleSpec,
    config: PracticeConfig,
  ):
    """Goes on from the workdir's last checkpoint, if there is one.

    Args:
      journal: folder that the loop writes to.
      workdir: for checkpoints, metrics.jsonl and the snapshot.
      spec: of the bundle that the loop runs: sizes, normalisation, VLA, token.
      config: of the learner; `robots` does not matter.

    Raises:
      ValueError: the config's chunk, delay or networks are not the bundle's,
        or the checkpoint is of another config, VLA or token.
    """
    for name, own, other in (
      ('chunk_size', config.chunk_size, spec.chunk_size),
      ('inference_delay', config.inference_delay, spec.inference_delay),
      ('replay_stride', config.replay_stride, spec.replay_stride),
      ('gamma', config.gamma, spec.gamma),
      (
        'intervention_reference',
        config.intervention_reference,
        spec.intervention_reference,
      ),
      (
        'agent.exploration_std',
        config.agent.exploration_std,
        spec.exploration_std,
      ),
      (
        'agent.exploration_noise',
        config.agent.exploration_noise,
        spec.exploration_noise,
      ),
      (
        'agent.hidden_dims',
        tuple(config.agent.hidden_dims),
        tuple(spec.hidden_dims),
      ),
      (
        'agent.frozen_action_dims',
        config.agent.frozen_action_dims,
        spec.frozen_action_dims,
      ),
      (
        'agent.reference_input',
        config.agent.reference_input,
        spec.reference_input,
      ),
    ):
      if own != other:
        raise ValueError(f"{name} must be the bundle's {other}: {own}.")
    self._journal, self._workdir = journal, pathlib.Path(workdir)
    self._config, self._spec = config, spec
    sizes = (spec.z_dim, spec.proprio_dim, spec.chunk_size, spec.action_dim)
    space = ActionSpace(np.float32(spec.action_scale), spec.action_mode)
    nets = rlt.make_networks(config.agent, *sizes)
    self._learner = learner_lib.make(
      replay.transition_spec(*sizes), space.encode, nets, config
    )
    self._blank = _blank(sizes, config.replay_stride)
    self._state = self._learner.init(
      jax.random.PRNGKey(config.seed), self._blank
    )
    self._after, self._version, self._backfilled = -1, 0, 0
    self._meta = checkpoint.make_meta(
      json.loads(config_lib.to_json(config)),
      {'vla': spec.vla_fingerprint, 'token': spec.token_fingerprint},
    )
    self._workdir.mkdir(parents=True, exist_ok=True)
    if checkpoint.latest(self._workdir) is not None:
      self._restore()
    self._publish()

  @property
  def version(self) -> int:
    """Of the newest snapshot."""
    return self._version

  def catch_up(self) -> int:
    """Learns from the episodes that are new; returns how many there were.

    Raises:
      FloatingPointError: a loss or parameter is no longer finite; the last
        snapshot and checkpoint stay.
    """
    count = 0
    for episode in episodes.read(self._journal, self._after):
      self._learn(episode)
      self._after = episode.index
      self._publish()
      count += 1
    return count

  def save(self) -> None:
    """Writes a checkpoint: the journal before it need not be read again."""
    state = {
      'learner': self._state,
      'after': self._after,
      'version': self._version,
      'backfilled': self._backfilled,
    }
    checkpoint.save(self._workdir, self._after + 1, state, self._meta)

  def _learn(self, episode: episodes.Episode) -> None:
    config, began = self._config, time.perf_counter()
    steps, end = episodes.without_gap(episode, config.replay_stride)
    before = int(self._state.train.critic_updates)
    metrics: dict[str, Any] = {}
    if end is not None and steps:
      parts = segments.cut(
        steps,
        episode.seen,
        chunk=config.chunk_size,
        stride=config.replay_stride,
        delay=config.inference_delay,
        end=end,
      )
      self._backfilled += sum(int((~part['live']).sum()) for part in parts)
      # A segment's rows are built when the next one comes; without one of
      # zeros the reward would wait for the next episode.
      for segment in (*map(to_segment, parts), self._blank):
        state, found = self._learner.learn(self._state, segment)
        metrics = found or metrics
        if metrics.get('finite', 1.0) < 1.0:
          raise FloatingPointError(
            f'Losses and parameters must stay finite: row {episode.index}, '
            f'{metrics}.'
          )
        self._state = state
    rows = max(self._state.rows, 1)
    made = int(self._state.train.critic_updates)
    took = time.perf_counter() - began
    self._log({
      'after': episode.index,
      'outcome': episode.outcome,
      'steps': len(steps),
      'dropped_steps': len(episode.steps) - len(steps),
      'policy_version': episode.begin.get('policy_version'),
      'rows': self._state.rows,
      'critic_updates': made,
      'update_to_data': made / rows,
      'updates_per_s': (made - before) / took,
      'backfilled': self._backfilled,
    } | metrics)  # fmt: skip

  def _publish(self) -> None:
    self._version += 1
    layers = bundle_lib.actor_layers(self._state.train.actor_params, self._spec)
    snapshot.write(
      self._workdir,
      snapshot.Snapshot(
        layers,
        self._version,
        self._state.rows,
        int(self._state.train.critic_updates),
        time.time(),
      ),
    )

  def _log(self, row: dict[str, Any]) -> None:
    with (self._workdir / 'metrics.jsonl').open('a') as file:
      file.write(json.dumps(row) + '\n')

  def _restore(self) -> None:
    like = {'learner': self._state, 'after': 0, 'version': 0, 'backfilled': 0}
    wanted = {name: self._meta[name] for name in ('config', 'fingerprints')}
    found = checkpoint.restore(self._workdir, like, expected_meta=wanted).state
    self._state = found['learner']
    self._after, self._version = int(found['after']), int(found['version'])
    self._backfilled = int(found['backfilled'])


def _blank(sizes: tuple[int, int, int, int], stride: int) -> Segment:
  """Returns a segment of zeros, for its shapes."""
  z_dim, proprio_dim, chunk, action_dim = sizes

  def look(*lead: int) -> Features:
    return Features(
      np.zeros((*lead, z_dim), np.float32),
      np.zeros((*lead, proprio_dim), np.float32),
      np.zeros((*lead, chunk, action_dim), np.float32),
      np.zeros((*lead, action_dim), np.float32),
    )

  return Segment(
    features=look(1, chunk // stride),
    final=look(1),
    command=np.zeros((1, chunk, action_dim), np.float32),
    reward=np.zeros((1, chunk), np.float32),
    valid=np.zeros((1, chunk), bool),
    terminated=np.zeros(1, bool),
    truncated=np.zeros(1, bool),
    source=np.zeros((1, chunk), np.int32),
  )
