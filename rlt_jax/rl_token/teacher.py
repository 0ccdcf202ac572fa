"""What embeds frames for Stage 1: a frozen VLA, here or behind a socket."""

import abc
import copy

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from rlt_jax import sharding
from rlt_jax.rl_token.config import count_image_tokens
from rlt_jax.types import Array, Observation, Params
from rlt_jax.vlas.demos import DemoBatch
from rlt_jax.vlas.vla import FrozenVla, VlaSpec

ROWS = 32  # frames a query, unless told otherwise


class Teacher(abc.ABC):
  """Embeds frames of demonstrations.

  spec: of the VLA: cameras, image_size, joint_names, proprio_dim, action_dim
    and fingerprint are read.
  """

  spec: VlaSpec

  @abc.abstractmethod
  def embed(self, frames: DemoBatch) -> tuple[Array, Array]:
    """Returns tokens [B, N, D] to read, any float type, and bool [B, N].

    N is the same in every call. False in the mask is padding. The result of a
    frame does not depend on the frames beside it.
    """


class VlaTeacher(Teacher):
  """A VLA in this process.

  vla: the VLA.
  """

  def __init__(
    self,
    vla: FrozenVla,
    *,
    rows: int = ROWS,
    mesh: Mesh | None = None,
    language: bool = False,
  ):
    """Computes nothing.

    Args:
      vla: its action chunk is never computed.
      rows: frames per query; the last query is padded to as many.
      mesh: of devices that share the rows of a query and hold the weights
        each; None leaves all to the default device.
      language: whether `embed` returns the tokens of the instruction too.

    Raises:
      ValueError: the mesh does not divide the rows.
    """
    self.vla, self.spec = vla, vla.spec
    self._rows, self._mesh, self._params = rows, mesh, vla.params
    self._language = language
    if mesh is not None:
      sharding.check_divides(rows, mesh, 'the frames of a query')
      self._params = sharding.replicate(vla.params, mesh)
    key = jax.random.key(0)  # only the reference, left out, depends on it

    @jax.jit
    def query(params, observation):
      out = vla.apply(params, observation, key)
      return out.tokens, out.mask, out.image_mask

    # Apart, as the compiler then leaves the tokens out.
    @jax.jit
    def query_mask(params, observation):
      out = vla.apply(params, observation, key)
      return out.mask, out.image_mask

    self._query, self._query_mask = query, query_mask

  def embed(self, frames: DemoBatch) -> tuple[Array, Array]:
    """Returns tokens and their mask; see `Teacher.embed`."""
    return self._run(self._query, frames)

  def mask(self, frames: DemoBatch) -> Array:
    """Returns the mask that `embed` returns, without the rest."""
    return self._run(self._query_mask, frames)[0]

  def with_params(self, params: Params) -> 'VlaTeacher':
    """Returns a teacher with other weights; its spec is the same."""
    other = copy.copy(self)
    other._params = params
    return other

  def _run(self, query, frames):
    images = {name: frames.images[name] for name in self.spec.cameras}
    observation = Observation(images, frames.proprio, frames.prompt)
    total, parts = len(frames.proprio), []
    for start in range(0, total, self._rows):
      index = np.minimum(np.arange(start, start + self._rows), total - 1)
      rows = jax.tree.map(lambda x: x[index], observation)  # noqa: B023
      if self._mesh is not None:
        rows = sharding.shard(rows, self._mesh)
      *found, image_mask = query(self._params, rows)
      count = count_image_tokens(image_mask)
      count = image_mask.shape[1] if self._language else count
      parts.append([x[:, :count] for x in found])
    if len(parts) == 1 and total == self._rows:
      return tuple(parts[0])
    return tuple(jnp.concatenate(x)[:total] for x in zip(*parts, strict=True))
