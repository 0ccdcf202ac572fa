"""The learner of a real arm: reads a journal, publishes weights.

It is the learner of practice in a process of its own. Episodes come from the
journal, so a learner that dies loses nothing: the next one goes on from its
last checkpoint and reads again what came after. Weights go out as a snapshot
after every episode; the control loop loads the newest between two episodes.
"""

from collections.abc import Sequence
import contextlib
import json
import os
import pathlib
import threading
import time
from typing import Any
import uuid

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.export import checkpoint
from rlt_jax.lock import lock_folder
from rlt_jax.reporting.metrics import MetricsWriter
from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.followed_journal import FollowedJournal
from rlt_jax.robot.recording.journal import JournalError
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.training import bundle_settings, learner_start
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.learner import Learner
from rlt_jax.types import Features, Segment


class JournalLearner:
  """Learns from one journal; `catch_up` is called again and again."""

  def __init__(
    self,
    *,
    journal: str | os.PathLike[str],
    workdir: str | os.PathLike[str],
    spec: BundleSpec,
    config: PracticeConfig,
    layers: Sequence[np.ndarray] = (),
    start: str | os.PathLike[str] = '',
    bundle: str = '',
  ):
    """Goes on from the workdir's last checkpoint, if there is one.

    Args:
      journal: folder that the control loop writes to.
      workdir: for checkpoints, metrics.jsonl and the snapshot.
      spec: of the bundle that the loop runs: sizes, normalization, VLA, token.
      config: of the learner; `num_envs` does not matter.
      layers: of the bundle's actor.
      start: run that a new learner begins with, see `learner_start`.
      bundle: its digest, see `policy.bundle.digest`; '' learns from any.

    Raises:
      ValueError: the config's chunk, delay or networks are not the bundle's,
        the checkpoint is of another config, bundle, VLA or token, or a start
        that does not fit the bundle.
      LockedError: another learner works in the workdir.
    """
    self._agent = registry.make(
      config.agent_name, config.agent, bundle_settings.sizes_of(spec)
    )
    bundle_settings.check(spec, self._agent, config)
    self._journal = FollowedJournal(journal)
    self._workdir = pathlib.Path(workdir)
    self._config, self._spec = config, spec
    space = ActionSpace(np.float32(spec.action_scale), spec.action_mode)
    self._learner = Learner(self._agent, space.encode, config)
    self._state = self._learner.init(
      jax.random.PRNGKey(config.seed),
      _segment_spec(bundle_settings.sizes_of(spec), config.replay_stride),
    )
    self._progress = dict.fromkeys(('version', 'late_queries', 'env_steps'), 0)
    self._meta = checkpoint.make_meta(
      json.loads(config_lib.to_json(config)),
      {'vla': spec.vla_fingerprint, 'token': spec.token_fingerprint},
    ) | {'updates_before': 0, 'bundle': bundle, 'learner': ''}
    if is_new := checkpoint.latest(self._workdir) is None:
      begin = learner_start.agent_state(
        self._state.agent,
        agent=self._agent,
        start=start,
        spec=spec,
        layers=layers,
        meta=self._meta,
      )
      self._state = self._state.replace(agent=begin)
      # Of a run in simulation, not of this journal.
      self._meta |= {'updates_before': int(self._agent.num_updates(begin))}
    with contextlib.ExitStack() as stack:
      stack.callback(lock_folder(self._workdir).release)
      if is_new:
        self._meta |= {'learner': _name_learner(self._workdir, spec)}
      else:
        self._restore()
      # Rows after the checkpoint are written again.
      self._metrics = MetricsWriter(
        self._workdir,
        resume_steps=self._progress['env_steps'],
        resume_version=self._progress['version'],
      )
      stack.callback(self._metrics.close)
      self._progress['version'] += 1
      self._publish()
      self._stack = stack.pop_all()

  @property
  def version(self) -> int:
    """Of the newest snapshot."""
    return self._progress['version']

  def catch_up(self, stop: threading.Event | None = None) -> int:
    """Learns from the episodes that are new; returns how many there were.

    Says in words what it cannot learn from: a journal that is another one than
    before, and is read from its beginning; a file that is missing; an episode
    that gives no row. It waits for a full disk, and says that, too.

    Args:
      stop: ends it after the present episode.

    Raises:
      OSError: the disk is full while `stop` is set, or fails otherwise. What
        is not in a checkpoint is learned from the journal at the next start.
      FloatingPointError: a loss or parameter is no longer finite; the last
        snapshot and checkpoint stay.
      JournalError: a file is damaged, the journal lacks what was learned from
        it, or an episode is of another bundle; those before it were learned.
    """
    stop, count = stop or threading.Event(), 0
    for episode in self._journal.read_new():
      if stop.is_set():
        break
      _check_origin(episode, self._meta['bundle'])
      row = self._learn(episode)
      # At once: what is learned must not be learned again, however long the
      # disk is full.
      self._journal.pass_by(episode)
      files.write_when_possible(lambda row=row: self._metrics.write(row), stop)
      self._progress['version'] += 1
      files.write_when_possible(self._publish, stop)
      count += 1
    return count

  def save(self, stop: threading.Event | None = None) -> None:
    """Writes a checkpoint: the journal before it need not be read again.

    Args:
      stop: does not wait for a full disk any more.

    Raises:
      OSError: it could not be written; the checkpoints before it stay.
    """
    journal, steps = self._journal, self._progress['env_steps']
    state = {
      'learner': self._state,
      **self._progress,
      'after': journal.after,
      'file': journal.file,
    }
    meta = self._meta | {'journal': journal.name}
    files.write_when_possible(
      lambda: checkpoint.save(self._workdir, steps, state, meta),
      stop or threading.Event(),
    )

  def close(self) -> None:
    """Closes metrics.jsonl and unlocks the workdir."""
    self._stack.close()

  def follow(
    self, stop: threading.Event, *, save_every_s: float, poll_s: float
  ) -> None:
    """Learns, publishes and saves until `stop` is set, then saves and closes.

    Prints every version that it publishes.

    Args:
      stop: may be set by a signal handler or another thread.
      save_every_s: s between two checkpoints.
      poll_s: s between two reads of the journal.

    Raises:
      JournalError, FloatingPointError, OSError: see `catch_up`. Before a
        JournalError what was learned is saved.
    """
    print(f'version {self.version} is published', flush=True)
    saved = time.monotonic()
    try:
      while not stop.is_set():
        if self.catch_up(stop):
          print(f'version {self.version} is published', flush=True)
        if time.monotonic() - saved > save_every_s:
          self.save(stop)
          saved = time.monotonic()
        stop.wait(poll_s)
      self.save(stop)
    except JournalError:
      self.save(stop)
      raise
    finally:
      self.close()

  def _learn(self, episode: episodes.Episode) -> dict[str, Any]:
    """Learns from an episode; returns its row of metrics."""
    start = time.perf_counter()
    before = int(self._agent.num_updates(self._state.agent))
    rows_before, metrics = self._state.rows, {}
    parts = episodes.learnable_parts(episode, self._config.replay_stride)
    for part in parts:
      metrics = self._learn_part(episode, part) or metrics
    num_steps = sum(len(part.steps) for part in parts)
    lost = episodes.describe_loss(episode, self._config.replay_stride)
    if episode.end is not None and self._state.rows == rows_before:
      lost = lost or episodes.NO_ROW
    if lost:
      self._say(episode, lost)
    updates = int(self._agent.num_updates(self._state.agent))
    self._progress['env_steps'] += num_steps
    return {
      'env_steps': self._progress['env_steps'],
      'rows': self._state.rows,
      'critic_updates': updates,
      'updates_per_s': (updates - before) / (time.perf_counter() - start),
      'pending_updates': self._state.pending_updates,
      'update_to_data': (
        (updates - self._meta['updates_before']) / max(self._state.rows, 1)
      ),
      'episode': episode.index,
      'outcome': episode.outcome,
      'steps': num_steps,
      'dropped_steps': episode.num_steps - num_steps,
      'policy_version': episode.begin.get('policy_version'),
      'version': self._progress['version'] + 1,
      'late_queries': self._progress['late_queries'],
    } | metrics  # fmt: skip

  def _say(self, episode: episodes.Episode, what: str) -> None:
    outcome = episode.outcome or 'interrupted'
    print(
      f'Episode {episode.file_number} ({outcome}, {episode.num_steps} steps) '
      f'{what}.',
      flush=True,
    )

  def _learn_part(
    self, episode: episodes.Episode, part: episodes.Part
  ) -> dict[str, float]:
    """Learns from a part; returns the metrics of its updates."""
    config, metrics = self._config, {}
    cut = segments.cut(
      part.steps,
      part.features,
      chunk_size=config.chunk_size,
      replay_stride=config.replay_stride,
      inference_delay=config.inference_delay,
      end=part.end,
    )
    self._progress['late_queries'] += part.late
    # None stores the last rows at once; else the reward would wait for the
    # next episode.
    for segment in (*cut, None):
      state, found = self._learner.learn(self._state, segment)
      metrics = found or metrics
      if metrics.get('finite', 1.0) < 1.0:
        raise FloatingPointError(
          f'Losses and parameters must stay finite: row {episode.index}, '
          f'{metrics}.'
        )
      self._state = state
    return metrics

  def _publish(self) -> None:
    agent, state = self._agent, self._state
    snapshot.write(
      self._workdir,
      snapshot.Snapshot(
        agent.mlp_policy.layers(agent.policy_params(state.agent)),
        self._progress['version'],
        state.rows,
        int(agent.num_updates(state.agent)),
        time.time(),
        self._meta['bundle'],
        self._meta['learner'],
      ),
    )

  def _restore(self) -> None:
    like = {'learner': self._state, **self._progress, 'after': 0, 'file': 0}
    wanted = {name: self._meta[name] for name in ('config', 'fingerprints')}
    restored = checkpoint.restore(
      self._workdir, like, expected_meta=wanted, set_aside=True
    )
    own, other = self._meta['bundle'], restored.meta.get('bundle', '')
    if own and other not in (own, ''):
      raise ValueError(
        f'bundle must be the one that the learner in {self._workdir} began '
        f'with, {other[:12]}: {own[:12]}. Another one needs a new workdir.'
      )
    self._meta |= {
      'updates_before': restored.meta.get('updates_before', 0),
      'learner': restored.meta.get('learner', ''),
    }
    found = restored.state
    self._state = found.pop('learner')
    found = {name: int(value) for name, value in found.items()}
    self._journal = FollowedJournal(
      self._journal.folder,
      name=restored.meta['journal'],
      after=found.pop('after'),
      file=found.pop('file'),
    )
    self._progress = found


def _check_origin(episode: episodes.Episode, bundle: str) -> None:
  """Raises JournalError if an episode was driven with another bundle."""
  other = episode.begin.get('bundle', '')
  if bundle and other not in (bundle, ''):
    raise JournalError(
      f"Episode {episode.file_number} must be of the learner's bundle "
      f'{bundle[:12]}: it was driven with {other[:12]}, whose normalization '
      'its observations have. Give the learner the bundle of the loop.'
    )


def _name_learner(workdir: pathlib.Path, spec: BundleSpec) -> str:
  """Returns a new name, or that of one that died before its first checkpoint.

  A loop goes on with the weights of that one until they are learned again.
  """
  with contextlib.suppress(ValueError, OSError):
    if (found := snapshot.read(workdir, spec)) and found.learner:
      return found.learner
  return uuid.uuid4().hex


def _segment_spec(sizes: Sizes, stride: int) -> Segment:
  """Returns the shapes and dtypes of one robot's segment."""
  chunk, action_dim = sizes.chunk_size, sizes.action_dim

  def array(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *shape), dtype)

  def features(*lead: int) -> Features:
    return Features(
      array(*lead, sizes.z_dim),
      array(*lead, sizes.proprio_dim),
      array(*lead, chunk, action_dim),
      array(*lead, action_dim),
    )

  return Segment(
    features=features(chunk // stride),
    final=features(),
    command=array(chunk, action_dim),
    reward=array(chunk),
    valid=array(chunk, dtype=bool),
    terminated=array(dtype=bool),
    truncated=array(dtype=bool),
    source=array(chunk, dtype=jnp.int32),
  )
