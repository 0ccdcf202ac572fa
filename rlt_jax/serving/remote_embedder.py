"""A frozen VLA and its RL token behind a socket, as practice uses them."""

from collections.abc import Callable
from typing import Any
from urllib import parse

import jax
import jax.numpy as jnp
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from rlt_jax.serving import schema, sync_client
from rlt_jax.serving.codec import MessageError
from rlt_jax.serving.embedder import Embedder, Embedding
from rlt_jax.serving.sync_client import ServerError, SyncClient
from rlt_jax.vlas.vla import draw_noise, ProprioStats

_REPLY_TIMEOUT_S = 600.0  # the first batch of a size is compiled there


class RemoteEmbedder(Embedder):
  """Asks a server of `serving.schema`, batch by batch and in order of rows.

  The flow's noise is drawn here and sent, so that the same keys give the same
  answers whatever the server was asked before. A server without `takes_noise`
  draws its own; a run over it cannot be repeated exactly.
  """

  def __init__(self, address: str, *, token: str = ''):
    """Connects and reads the server's spec.

    Args:
      address: such as ws://127.0.0.1:8000.
      token: text that the server asks for; empty for none.

    Raises:
      ConnectionError: no server there, or it refused the token.
      ValueError: a server whose spec lacks what practice needs.
    """
    sync_client.check_address(address)
    self._address = address
    self._client = self._ask(
      lambda: SyncClient(address, token=token, reply_timeout_s=_REPLY_TIMEOUT_S)
    )
    self.spec = schema.read_metadata(self._client.metadata)
    self.token_metrics: dict[str, Any] = {}
    for name in ('control_hz', 'proprio_mean', 'proprio_std'):
      if not getattr(self.spec, name):
        raise ValueError(
          f'The VLA at {address} must state {name} in its metadata for '
          f'practice: {getattr(self.spec, name)}. Serve it with '
          'experiments.serve_vla, or add the field of `ServingSpec`.'
        )
    self._stats = ProprioStats(
      np.asarray(self.spec.proprio_mean, np.float32),
      np.asarray(self.spec.proprio_std, np.float32),
    )
    self._draw = jax.jit(
      lambda key, rows: draw_noise(key, rows, self.spec), static_argnums=1
    )
    self._draw_each = jax.jit(
      lambda keys, rows: jax.vmap(lambda key: draw_noise(key, rows, self.spec))(
        keys
      ).reshape(-1, self.spec.horizon, self.spec.action_dim),
      static_argnums=1,
    )

  def __enter__(self) -> 'RemoteEmbedder':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Ends the connection."""
    self._client.close()

  def embed(self, images, proprio, prompt, key):
    """See `Embedder.embed`.

    Raises:
      ConnectionError: the server is gone, or answers with an error.
    """
    return self._embed(images, proprio, prompt, self._draw(key, len(proprio)))

  def embed_each(self, images, proprio, prompt, keys):
    """See `Embedder.embed_each`; raises as `embed`."""
    noise = self._draw_each(keys, len(proprio) // len(keys))
    return self._embed(images, proprio, prompt, noise)

  def _embed(self, images, proprio, prompt, noise) -> Embedding:
    images = {name: images[name] for name in self.spec.cameras}
    images, proprio, noise = jax.device_get((images, proprio, noise))
    size, replies = self.spec.max_batch, []
    for i in range(0, len(proprio), size):
      rows = slice(i, i + size)
      replies.append(
        self._query(
          {name: x[rows] for name, x in images.items()},
          proprio[rows],
          prompt,
          noise[rows],
        )
      )
    return Embedding(
      jnp.asarray(np.concatenate([r.z_rl for r in replies])),
      jnp.asarray(self._stats.normalize(proprio)),
      jnp.asarray(np.concatenate([r.reference for r in replies])),
    )

  def _query(self, images, proprio, prompt, noise) -> schema.Reply:
    """Asks for one batch; replies lead with [B]."""
    if self.spec.max_batch == 1:  # a server that takes single observations
      images, proprio, noise = jax.tree.map(
        lambda x: x[0], (images, proprio, noise)
      )
    request = schema.make_request(
      self.spec,
      images=images,
      proprio=proprio,
      prompt=prompt,
      noise=noise if self.spec.takes_noise else None,
    )
    message = self._ask(lambda: self._client.infer(request))
    if self.spec.max_batch == 1:
      reply = schema.read_reply(self.spec, message)
      return schema.Reply(*(x[None] for x in reply))
    return schema.read_reply(self.spec, message, len(proprio))

  def _ask(self, call: Callable[[], Any]) -> Any:
    try:
      return call()
    except (
      OSError,
      InvalidHandshake,
      ConnectionClosed,
      MessageError,
      ServerError,
    ) as error:
      raise ConnectionError(
        f'The VLA at {self._address} must answer: {_describe(error)}. Start '
        'its server; --resume continues a run from its last checkpoint.'
      ) from error


def _describe(error: Exception) -> str:
  if isinstance(error, TimeoutError):
    return 'no answer in time'
  return sync_client.describe(error)


def read_address(text: str) -> tuple[str, str]:
  """Returns the address and the path of the token file of a --vla= value.

  Args:
    text: 'ws://host:port' or 'ws://host:port?token_file=PATH'.

  Raises:
    ValueError: any other query.
  """
  url = parse.urlsplit(text)
  query = parse.parse_qs(url.query, keep_blank_values=True)
  if set(query) - {'token_file'}:
    raise ValueError(
      f"A VLA's address may have '?token_file=PATH' and no other query: "
      f'{text!r}.'
    )
  address = parse.urlunsplit(url._replace(query=''))
  return address, query.get('token_file', [''])[0]
