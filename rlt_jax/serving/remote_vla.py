"""A frozen VLA behind a socket that hands out its tokens.

To JAX it is a VLA like any other: a compiled program asks the server from
within. The RL token is trained on it where the weights are not.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import vlas
from rlt_jax.serving import schema, sync_client
from rlt_jax.serving.remote_embedder import Connection
from rlt_jax.types import Array, Observation, Params
from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput, VlaSpec

_NUMBERS = 2**31 - 1  # of texts, 1 to the largest int32


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteSpec(VlaSpec):
  """The spec of a VLA whose images may have any shape.

  image_shapes: (height, width) of each camera's images.
  camera_tokens: how many of the tokens each camera has; empty if unknown.
  """

  image_shapes: tuple[tuple[int, int], ...]
  camera_tokens: tuple[int, ...] = ()

  def image_shape(self, camera: str) -> tuple[int, int]:
    """Returns height and width of a camera's images."""
    if camera not in self.cameras:
      raise ValueError(f'camera must be one of {self.cameras}: {camera!r}.')
    return self.image_shapes[self.cameras.index(camera)]


class RemoteVla(FrozenVla):
  """Asks a server for tokens and chunks; it has no weights of its own.

  The instruction travels as text: `tokenize` numbers the texts it was given. A
  text has the same number in every process, whatever came before it.
  """

  def __init__(self, address: str, *, token: str = ''):
    """Connects and reads the server's spec.

    Args:
      address: such as ws://127.0.0.1:8000.
      token: text that the server asks for; empty for none.

    Raises:
      ConnectionError: no server there, or it refused the token.
      ValueError: a server that gives no tokens, or leaves out a field.
    """
    self._connection = Connection(address, token)
    self._wire = wire = self._connection.spec
    if not wire.num_image_tokens:
      self.close()
      raise ValueError(
        f'The VLA at {address} must hand out tokens: it states no '
        'num_image_tokens. Give here the VLA itself.'
      )
    self.params: Params = {}
    self.reads_joints = wire.reads_joints
    self._texts: dict[int, str] = {}
    self._error: Exception | None = None
    self.spec = RemoteSpec(
      cameras=wire.cameras,
      image_size=wire.image_size,
      image_shapes=tuple(wire.image_shape(name) for name in wire.cameras),
      camera_tokens=wire.camera_tokens,
      proprio_dim=wire.proprio_dim,
      prompt_length=1,
      num_tokens=wire.num_image_tokens,
      token_dim=wire.token_dim,
      horizon=wire.horizon,
      action_dim=wire.action_dim,
      joint_names=wire.joint_names,
      control_hz=float(wire.control_hz),
      action_mode=wire.action_mode,
      action_scale=wire.action_scale,
      fingerprint=wire.vla_fingerprint,
    )

  def __enter__(self) -> 'RemoteVla':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Ends the connection."""
    self._connection.close()

  def apply_with_noise(
    self, params: Params, observation: Observation, noise: Array
  ) -> VlaOutput:
    """Asks the server; see `FrozenVla`. All tokens are image tokens."""
    del params
    spec, wire = self.spec, self._wire
    rows = observation.proprio.shape[0]
    shape = jax.ShapeDtypeStruct
    tokens, mask, reference = jax.pure_callback(
      self._ask_all,
      (
        shape((rows, spec.num_tokens, spec.token_dim), wire.token_dtype),
        shape((rows, spec.num_tokens), np.bool_),
        shape((rows, spec.horizon, spec.action_dim), np.float32),
      ),
      {name: observation.images[name] for name in spec.cameras},
      observation.proprio,
      observation.prompt,
      noise,
      vmap_method='sequential',
    )
    return VlaOutput(tokens, mask, jnp.ones_like(mask), reference)

  def tokenize(self, text: str) -> np.ndarray:
    """Returns the number of a text, int32 [1], at least 1."""
    if not text.strip():
      raise ValueError(f'The instruction must not be empty: {text!r}.')
    # Demonstrations are told apart by their prompts, too, so a count of texts
    # would not do: its order depends on threads and files.
    digest = hashlib.sha256(text.encode()).digest()
    number = 1 + int.from_bytes(digest[:8], 'big') % _NUMBERS
    if self._texts.setdefault(number, text) != text:
      raise ValueError(
        f'Instructions must have distinct numbers: {text!r} and '
        f'{self._texts[number]!r} do not. Change a letter of one of them.'
      )
    return np.array([number], np.int32)

  def proprio_stats(self) -> ProprioStats:
    """Returns the statistics that the server states."""
    return self._connection.proprio_stats()

  @contextlib.contextmanager
  def plain_errors(self) -> Iterator[None]:
    """Raises the server's error, which JAX wraps in one of its own."""
    try:
      yield
    except jax.errors.JaxRuntimeError as error:
      if self._error is None:
        raise
      raise self._error from error

  def _ask_all(self, images, proprio, prompt, noise):
    """Returns tokens, mask and reference of B rows, as NumPy arrays."""
    try:
      images = {name: np.asarray(x) for name, x in images.items()}
      proprio, prompt, noise = map(np.asarray, (proprio, prompt, noise))
      found: list[Any] = [None] * len(proprio)
      limit = schema.batch_limit(self._wire, schema.TOKENS)
      for number in np.unique(prompt[:, 0]):
        rows = np.flatnonzero(prompt[:, 0] == number)
        for i in range(0, len(rows), limit):
          part = rows[i : i + limit]
          reply = self._connection.query(
            {name: x[part] for name, x in images.items()},
            proprio[part],
            self._texts[int(number)],
            noise[part],
            schema.TOKENS,
          )
          for j, row in enumerate(part):
            found[row] = reply.tokens[j], reply.mask[j], reply.reference[j]
      return tuple(np.stack(x) for x in zip(*found, strict=True))
    except Exception as error:
      self._error = error  # for `plain_errors`
      raise


def load(text: str) -> FrozenVla:
  """Opens a VLA in this process, or one behind a socket that gives tokens.

  Args:
    text: as for `vlas.load`, or an address.

  Raises:
    ValueError: as `vlas.load`, or a server without tokens.
    ConnectionError: no server at the address.
  """
  if not vlas.is_address(text):
    return vlas.load(text)
  address, token_file = sync_client.read_address(text)
  return RemoteVla(address, token=sync_client.read_token(token_file))


@contextlib.contextmanager
def opened(text: str) -> Iterator[FrozenVla]:
  """Opens a VLA as `load`; a connection ends with the block.

  Errors of a server within the block are raised as they are.
  """
  vla = load(text)
  if isinstance(vla, RemoteVla):
    with vla, vla.plain_errors():
      yield vla
  else:
    yield vla
