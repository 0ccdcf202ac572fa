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
  takes_joints: whether the VLA reads positions and rates of the joints, beside
    what the task measures.
  """

  takes_joints: bool = False
  spec: ServingSpec
  token_metrics: Mapping[str, Any]

  def check_instruction(self, text: str) -> None:
    """Raises a ValueError for a text that the VLA is known not to read."""
    del text  # only a server knows

  @abc.abstractmethod
  def embed(
    self,
    images: Mapping[str, Array],
    proprio: Array,
    prompt: str,
    key: PRNGKey,
    joints: Array | None = None,
  ) -> Embedding:
    """Embeds B observations with one key.

    Args:
      images: camera -> uint8 [B, S, S, 3]; with every camera of the spec.
      proprio: [B, P] as measured.
      prompt: the instruction.
      key: consumed; the flow's initial noise, one draw per row.
      joints: [B, 2 A] measured positions and then rates, where `takes_joints`
        asks for them.
    """

  @abc.abstractmethod
  def embed_each(
    self,
    images: Mapping[str, Array],
    proprio: Array,
    prompt: str,
    keys: PRNGKey,
    joints: Array | None = None,
  ) -> Embedding:
    """Embeds [S * B] observations, each group of B as `embed` with its key.

    Args:
      images, proprio, prompt, joints: as `embed`, S groups of B rows in order.
      keys: [S] consumed.
    """

  def sample(
    self,
    images: Mapping[str, Array],
    proprio: Array,
    prompt: str,
    noise: Array,
    joints: Array | None = None,
  ) -> Array:
    """Returns the VLA's chunks [B, N, H, A] for given initial noise.

    Args:
      images, proprio, prompt, joints: as `embed`.
      noise: [B, N, H, A], N draws for each observation.

    Raises:
      ValueError: a VLA that takes no noise.
    """
    raise ValueError(
      f'The VLA must take the noise of its flow: {type(self).__name__}.'
    )


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
    self.takes_joints = vla.spec.state == 'joints'
    self._params = vla.params, token.params, vla.proprio_stats()
    self._prompts: dict[str, Array] = {}
    self._query = jax.jit(self._read)
    self._sample = jax.jit(self._sample_chunks)
    self._query_each = jax.jit(
      jax.vmap(self._read, in_axes=(None, 0, 0, 0, None, 0))
    )

  def embed(self, images, proprio, prompt, key, joints=None):
    """See `Embedder.embed`."""
    images, tokens = self._cameras(images), self._tokens(prompt)
    return self._query(self._params, images, proprio, key, tokens, joints)

  def embed_each(self, images, proprio, prompt, keys, joints=None):
    """See `Embedder.embed_each`."""
    images, proprio, joints = jax.tree.map(
      lambda x: x.reshape(len(keys), -1, *x.shape[1:]),
      (self._cameras(images), proprio, joints),
    )
    tokens = self._tokens(prompt)
    out = self._query_each(self._params, images, proprio, keys, tokens, joints)
    return Embedding(*(x.reshape(-1, *x.shape[2:]) for x in out))

  def sample(self, images, proprio, prompt, noise, joints=None):
    """See `Embedder.sample`."""
    images, tokens = self._cameras(images), self._tokens(prompt)
    return self._sample(self._params, images, proprio, noise, tokens, joints)

  def check_instruction(self, text: str) -> None:
    """See `Embedder.check_instruction`."""
    self._tokens(text)

  def _sample_chunks(self, params, images, proprio, noise, prompt, joints):
    observation = self._observe(images, proprio, prompt, joints)

    def chunk(noise):
      return self.vla.apply_with_noise(params[0], observation, noise).reference

    # What does not depend on the noise is computed once for all draws.
    return jax.vmap(chunk, in_axes=1, out_axes=1)(noise)

  def _observe(self, images, proprio, prompt, joints):
    return Observation(
      images,
      joints if self.takes_joints else proprio,
      jnp.broadcast_to(prompt, (len(proprio), len(prompt))),
    )

  def _read(self, params, images, proprio, key, prompt, joints):
    vla_params, token_params, stats = params
    observation = self._observe(images, proprio, prompt, joints)
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
