"""Maps observations to the agent's features, in this process or on a server.

Practice needs less than a whole VLA: the RL token, normalized proprioception
and the reference chunk of a batch of observations.
"""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.serving import vla_service
from rlt_jax.serving.schema import ServingSpec
from rlt_jax.types import Array, Observation, PRNGKey
from rlt_jax.vlas.vla import FrozenVla


class Embedding(NamedTuple):
  """One query; leaves lead with [B].

  z_rl: [B, Z] RL token. proprio: [B, P] normalized. reference: [B, H, A]
  normalized action units.
  """

  z_rl: Array
  proprio: Array
  reference: Array


class Embedder(abc.ABC):
  """A frozen VLA and its RL token.

  spec: inputs, outputs and fingerprints.
  token_metrics: diagnostics of the token, for the report; may be empty.
  """

  spec: ServingSpec
  token_metrics: Mapping[str, Any]

  @abc.abstractmethod
  def embed(
    self,
    images: Mapping[str, Array],
    proprio: Array,
    prompt: str,
    key: PRNGKey,
  ) -> Embedding:
    """Embeds B observations with one key.

    Args:
      images: camera -> uint8 [B, S, S, 3]; with every camera of the spec.
      proprio: [B, P] as measured.
      prompt: the instruction.
      key: consumed; the flow's initial noise, one draw per row.
    """

  @abc.abstractmethod
  def embed_each(
    self,
    images: Mapping[str, Array],
    proprio: Array,
    prompt: str,
    keys: PRNGKey,
  ) -> Embedding:
    """Embeds [S * B] observations, each group of B as `embed` with its key.

    Args:
      images, proprio, prompt: as `embed`, S groups of B rows in order.
      keys: [S] consumed.
    """


class LocalEmbedder(Embedder):
  """A VLA and its token in this process, each query one compiled program."""

  def __init__(
    self,
    vla: FrozenVla,
    token: RlToken,
    token_metrics: Mapping[str, Any] | None = None,
  ):
    """Compiles nothing yet.

    Raises:
      ValueError: a token of another VLA.
    """
    if token.spec.vla_fingerprint != vla.spec.fingerprint:
      raise ValueError(
        'The token must have been trained on this VLA, '
        f'{vla.spec.fingerprint}: {token.spec.vla_fingerprint}.'
      )
    self.vla, self.token = vla, token
    self.token_metrics = token_metrics or {}
    self.spec = vla_service.make_spec(vla, token)
    self._params = vla.params, token.params, vla.proprio_stats()
    self._prompts: dict[str, Array] = {}
    self._query = jax.jit(self._read)
    self._query_each = jax.jit(
      jax.vmap(self._read, in_axes=(None, 0, 0, 0, None))
    )

  def embed(self, images, proprio, prompt, key):
    """See `Embedder.embed`."""
    return self._query(
      self._params, self._cameras(images), proprio, key, self._tokens(prompt)
    )

  def embed_each(self, images, proprio, prompt, keys):
    """See `Embedder.embed_each`."""
    images, proprio = jax.tree.map(
      lambda x: x.reshape(len(keys), -1, *x.shape[1:]),
      (self._cameras(images), proprio),
    )
    out = self._query_each(
      self._params, images, proprio, keys, self._tokens(prompt)
    )
    return Embedding(*(x.reshape(-1, *x.shape[2:]) for x in out))

  def _read(self, params, images, proprio, key, prompt):
    vla_params, token_params, stats = params
    rows = proprio.shape[0]
    observation = Observation(
      images, proprio, jnp.broadcast_to(prompt, (rows, len(prompt)))
    )
    out = self.vla.apply(vla_params, observation, key)
    scaled = stats.normalize(proprio)
    z_rl = self.token.apply(token_params, out.tokens, out.mask)
    return Embedding(z_rl, scaled, out.reference)

  def _cameras(self, images):
    return {name: images[name] for name in self.spec.cameras}

  def _tokens(self, prompt):
    if prompt not in self._prompts:
      self._prompts[prompt] = self.vla.tokenize(prompt)
    return self._prompts[prompt]
