"""A frozen VLA and its RL token behind a socket, as practice uses them."""

from collections.abc import Callable, Mapping
import threading
from typing import Any

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


class Connection:
  """Asks a server batch by batch; one that is gone is a ConnectionError.

  Threads may share one: their requests take turns.

  spec: what the server states.
  """

  def __init__(self, address: str, token: str = ''):
    """Connects and reads the server's spec.

    Args:
      address: such as ws://127.0.0.1:8000.
      token: text that the server asks for; empty for none.

    Raises:
      ConnectionError: no server there, or it refused the token.
      ValueError: a server whose spec lacks what practice needs.
    """
    sync_client.check_address(address)
    self._address, self._lock = address, threading.Lock()
    self._client = self._ask(
      lambda: SyncClient(address, token=token, reply_timeout_s=_REPLY_TIMEOUT_S)
    )
    self.spec = schema.read_metadata(self._client.metadata)
    for name in ('control_hz', 'proprio_mean', 'proprio_std'):
      if not getattr(self.spec, name):
        raise ValueError(
          f'The VLA at {address} must state {name} in its metadata for '
          f'practice: {getattr(self.spec, name)}. Serve it with '
          'experiments.serve_vla, or add the field of `ServingSpec`.'
        )

  def close(self) -> None:
    """Ends the connection."""
    self._client.close()

  def proprio_stats(self) -> ProprioStats:
    """Returns the statistics that the server states."""
    return ProprioStats(
      np.asarray(self.spec.proprio_mean, np.float32),
      np.asarray(self.spec.proprio_std, np.float32),
    )

  def query(
    self,
    images: Mapping[str, np.ndarray],
    proprio: np.ndarray,
    prompt: str,
    noise: np.ndarray,
    want: str = '',
  ) -> schema.Reply | schema.TokenReply:
    """Asks about B observations; the reply's arrays lead with [B].

    Args:
      images, proprio, noise: lead with [B], at most `schema.batch_limit`. The
        noise is not sent to a server that takes none.
      prompt: the instruction.
      want: see `schema.make_request`.

    Raises:
      ConnectionError: the server is gone, or answers with an error.
    """
    spec, rows = self.spec, len(proprio)
    single = spec.max_batch == 1  # it takes no leading [B]
    if single:
      images = {name: x[0] for name, x in images.items()}
      proprio, noise = proprio[0], noise[0]
    request = schema.make_request(
      spec,
      images=images,
      proprio=proprio,
      prompt=prompt,
      noise=noise if spec.takes_noise else None,
      want=want,
    )
    with self._lock:
      message = self._ask(lambda: self._client.infer(request))
    read = schema.read_token_reply if want else schema.read_reply
    reply = read(spec, message, None if single else rows)
    return type(reply)(*(x[None] for x in reply)) if single else reply

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
    self._connection = Connection(address, token)
    self.spec = self._connection.spec
    schema.check_has_token(self.spec)
    self.token_metrics: dict[str, Any] = {}
    self._stats = self._connection.proprio_stats()
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
    self._connection.close()

  def embed(self, images, proprio, prompt, key, joints=None):
    """See `Embedder.embed`; a server reads the joints from proprioception.

    Raises:
      ConnectionError: the server is gone, or answers with an error.
    """
    del joints
    return self._embed(images, proprio, prompt, self._draw(key, len(proprio)))

  def embed_each(self, images, proprio, prompt, keys, joints=None):
    """See `Embedder.embed_each`; raises as `embed`."""
    del joints
    noise = self._draw_each(keys, len(proprio) // len(keys))
    return self._embed(images, proprio, prompt, noise)

  def sample(self, images, proprio, prompt, noise, joints=None):
    """See `Embedder.sample`; raises ConnectionError as `embed`."""
    del joints
    if not self.spec.takes_noise:
      raise ValueError(
        'The server must take the noise of its flow (takes_noise), so that a '
        'method can choose it or draw several chunks.'
      )
    chunks = [
      self._embed(images, proprio, prompt, noise[:, i]).reference
      for i in range(noise.shape[1])
    ]
    return jnp.stack(chunks, axis=1)

  def _embed(self, images, proprio, prompt, noise) -> Embedding:
    images = {name: images[name] for name in self.spec.cameras}
    images, proprio, noise = jax.device_get((images, proprio, noise))
    size, replies = self.spec.max_batch, []
    for i in range(0, len(proprio), size):
      rows = slice(i, i + size)
      replies.append(
        self._connection.query(
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


def _describe(error: Exception) -> str:
  if isinstance(error, TimeoutError):
    return 'no answer in time'
  return sync_client.describe(error)
