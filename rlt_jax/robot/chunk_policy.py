"""Turns answers of the VLA into chunks of commands."""

import numpy as np

from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.episode import EpisodeProgress
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import draw_noise, NumpyPolicy
from rlt_jax.robot.policy.vla_queries import VlaQuery
from rlt_jax.serving.schema import Reply


class ChunkPolicy:
  """Chooses the VLA's or the actor's chunk by the episode's progress.

  Outside the critical phase, in base episodes and during the warm-up of
  practice it is the VLA's, else the actor's. In practice the actor's chunk gets
  exploration noise of the bundle's kind and size.
  """

  def __init__(
    self,
    policy: NumpyPolicy,
    progress: EpisodeProgress,
    *,
    vla_warmup_steps: int,
    seed: int,
  ):
    """Takes the first actor, and settings as in `EpisodeConfig`."""
    self.policy, self._progress = policy, progress
    self._vla_warmup_steps = vla_warmup_steps
    self._rng = np.random.default_rng(seed)

  @property
  def spec(self) -> BundleSpec:
    """Spec of the actor's bundle."""
    return self.policy.spec

  @property
  def in_warmup(self) -> bool:
    """Whether practice is still driven by the VLA."""
    progress = self._progress
    return (
      progress.mode == 'practice'
      and progress.practice_steps < self._vla_warmup_steps
    )

  def make_chunk(
    self, query: VlaQuery, reply: Reply, since: int
  ) -> tuple[np.ndarray, CommandSource]:
    """Returns commands [n, A] and their source.

    Args:
      query: the observation.
      reply: the VLA's answer to it.
      since: control steps executed since the observation.
    """
    policy, progress = self.policy, self._progress
    if not progress.paced:
      commands = policy.decode(reply.reference, query.pose)
      return commands, CommandSource.VLA
    spec, source = policy.spec, CommandSource.VLA
    # An answer to a look before the episode has executed no steps of it.
    since = max(since, 0)
    chunk = reply.reference[since : since + spec.chunk_size]
    if not self.in_warmup:
      chunk = policy.act(reply.z_rl, query.proprio, chunk)
      source = CommandSource.ACTOR
      if progress.mode == 'practice':
        chunk = chunk + draw_noise(spec, self._rng)
    return policy.decode(chunk, query.pose), source
