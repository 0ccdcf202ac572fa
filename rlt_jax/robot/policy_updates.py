"""Takes the learner's newest weights between episodes."""

from collections.abc import Callable
import functools
import os
import time

from rlt_jax.robot.policy import snapshot
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.snapshot import Snapshot


class PolicyUpdates:
  """The learner's snapshots.

  snapshot: in use; None before the first. fault: why the newest one was not
  taken, and the one before stays in use; '' if it was. num_refused: how often.
  notice: that the one in use is of another learner than the one before, or ''.
  """

  def __init__(
    self,
    spec: BundleSpec,
    read_newer: Callable[[Snapshot | None], Snapshot | None],
  ):
    """Reads nothing.

    Args:
      spec: of the policies.
      read_newer: snapshot in use -> one that is newer, or None; raises
        ValueError or OSError for one that is damaged.
    """
    self._spec, self._read_newer = spec, read_newer
    self.snapshot: Snapshot | None = None
    self.fault, self.num_refused, self.notice = '', 0, ''
    self._first_update: tuple[float, int] | None = None  # s, critic updates

  @classmethod
  def of_learner(
    cls, folder: str | os.PathLike[str], spec: BundleSpec, bundle: str
  ) -> 'PolicyUpdates':
    """Returns those of a learner's folder, for a bundle with this digest."""
    read = functools.partial(snapshot.read, folder, spec, bundle=bundle)
    return cls(spec, read)

  @property
  def version(self) -> int:
    """Of the snapshot in use; 0 before the first."""
    return self.snapshot.version if self.snapshot else 0

  def take_newest(self) -> NumpyPolicy | None:
    """Returns the newest policy, or None if the one in use is."""
    before, self.notice = self.snapshot, ''
    try:
      found, self.fault = self._read_newer(before), ''
    except (ValueError, OSError) as error:
      # A learner's fault must not end a run that has good weights.
      self.fault = f'{error} The weights of before stay in use.'
      self.num_refused += 1
      return None
    if found is None:
      return None
    if found.critic_updates and self._first_update is None:
      self._first_update = found.written, found.critic_updates
    if before is not None and before.learner != found.learner:
      self.notice = (
        f'The learner began anew: version {found.version} with '
        f'{found.critic_updates} updates takes the place of version '
        f'{before.version} with {before.critic_updates}.'
      )
      self._first_update = None
    self.snapshot = found
    return NumpyPolicy(self._spec, found.layers)

  def age_s(self) -> float | None:
    """Returns the age of the snapshot in use."""
    return time.time() - self.snapshot.written if self.snapshot else None

  def updates_per_s(self) -> float | None:
    """Returns critic updates a second of wall clock, since the first."""
    newest, first = self.snapshot, self._first_update
    if newest is None or first is None or newest.written <= first[0]:
      return None
    return (newest.critic_updates - first[1]) / (newest.written - first[0])
