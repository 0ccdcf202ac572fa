"""The fields of one request and one reply: names, shapes and units.

Letters as in `types.py`: S image side, P proprioception, A action entries, H
reference steps, Z width of the RL token. A request:

  images/<camera>  uint8 [S, S, 3], one per camera
  proprio          float32 [P] as measured: positions (rad, m), then rates
  prompt           str, the instruction
  noise            float32 [H, A] initial noise of the flow; may be left out.
                   Only for a server with `takes_noise`
  want             'tokens', for the tokens in place of z_rl; may be left out.
                   Only for a server with `num_image_tokens`

Images have the height and width of `image_shapes` where the server states them.
A reply has openpi's `actions` and our own keys beside it:

  actions      float32 [H, A] absolute joint targets, rad and m
  z_rl         float32 [Z]
  reference    float32 [H, A] the same chunk in normalized units
  fingerprint  {'vla': str, 'token': str}

Where tokens were wanted, two arrays stand in place of z_rl:

  tokens       [N, D] image tokens of all cameras, of the server's token_dtype
  token_mask   bool [N], False is padding

Where the server's `max_batch` is above 1, a request may hold several
observations with one prompt: every array leads with [B], B up to max_batch,
and so do the arrays of the reply. With tokens B is at most `batch_limit`.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.serving.serving_spec import ServingSpec

IMAGE = 'images/'
_OTHER_BYTES = 1 << 16  # of a request, for the prompt and the keys
TOKENS = 'tokens'  # the value of want


class Request(NamedTuple):
  """One observation or a batch; shapes in the module's text."""

  images: dict[str, np.ndarray]
  proprio: np.ndarray
  prompt: str
  noise: np.ndarray | None = None
  want: str = ''

  @property
  def batch_size(self) -> int | None:
    """B, or None for a single observation without a leading [B]."""
    return len(self.proprio) if self.proprio.ndim == 2 else None


class Reply(NamedTuple):
  """One answer; shapes and units in the module's text."""

  actions: np.ndarray
  z_rl: np.ndarray
  reference: np.ndarray


class TokenReply(NamedTuple):
  """One answer with tokens; shapes and units in the module's text."""

  actions: np.ndarray
  reference: np.ndarray
  tokens: np.ndarray
  mask: np.ndarray


def read_metadata(metadata: Mapping[str, Any]) -> ServingSpec:
  """Returns the spec in a server's metadata; other fields are ignored.

  Raises:
    ValueError: a field that is missing or breaks its rule, by name.
  """
  fields = dataclasses.fields(ServingSpec)
  for field in fields:
    if field.default is dataclasses.MISSING and field.name not in metadata:
      raise ValueError(f"The server's metadata must have {field.name}.")
  names = [field.name for field in fields if field.name in metadata]
  return ServingSpec(**{name: metadata[name] for name in names})


def check(metadata: Mapping[str, Any], **expected: Any) -> None:
  """Raises a ValueError that names the first field that does not fit.

  Args:
    metadata: the server's first message.
    **expected: fields by name with the values needed: fingerprints, horizon,
      action_dim, cameras. Tuples and lists are the same; a float may differ
      by one part in a million, as float32 files make it.
  """
  for name, value in expected.items():
    if name not in metadata:
      raise ValueError(f"The server's metadata must have {name}.")
    if not _same(metadata[name], value):
      raise ValueError(
        f"The server's {name} must be {value!r}: {metadata[name]!r}."
      )


def make_request(
  spec: ServingSpec,
  *,
  images: Mapping[str, np.ndarray],
  proprio: np.ndarray,
  prompt: str,
  noise: np.ndarray | None = None,
  want: str = '',
) -> dict[str, Any]:
  """Returns the message of one observation, or of a batch with a leading [B].

  Args:
    spec: of the server.
    images: camera name -> uint8 [S, S, 3].
    proprio: [P] as measured; any float dtype.
    prompt: the instruction.
    noise: [H, A] initial noise of the flow; None leaves it to the server.
    want: TOKENS, or '' for z_rl.

  Raises:
    ValueError: what breaks the schema, by name.
  """
  message = {f'{IMAGE}{name}': image for name, image in images.items()}
  message['proprio'] = np.asarray(proprio, np.float32)
  message['prompt'] = prompt
  if noise is not None:
    message['noise'] = np.asarray(noise, np.float32)
  if want:
    message['want'] = want
  read_request(spec, message)
  return message


def request_keys(spec: ServingSpec) -> set[str]:
  """Returns the keys that every request has."""
  return {f'{IMAGE}{name}' for name in spec.cameras} | {'proprio', 'prompt'}


def make_blank_request(
  spec: ServingSpec, proprio: Any, prompt: str, want: str = ''
) -> dict[str, Any]:
  """Returns a request with black images, to compile or to try a server."""
  images = {
    name: np.zeros((*spec.image_shape(name), 3), np.uint8)
    for name in spec.cameras
  }
  return make_request(
    spec, images=images, proprio=proprio, prompt=prompt, want=want
  )


def batch_limit(spec: ServingSpec, want: str = '') -> int:
  """Returns how many observations one request may hold."""
  return min(spec.max_batch, spec.token_batch() if want else spec.max_batch)


def check_has_token(spec: ServingSpec) -> None:
  """Raises a ValueError for a server that has no RL token yet."""
  if not spec.z_dim:
    raise ValueError(
      'The server must have an RL token: it gives the tokens of a VLA only. '
      'Train one with experiments.train_token --vla=ws://..., and start the '
      'server with it.'
    )


def max_request_bytes(spec: ServingSpec) -> int:
  """Returns the size of the largest frame that a client has reason to send."""
  numbers = spec.proprio_dim + spec.horizon * spec.action_dim  # with the noise
  # Twice the size of a float32: a script may send float64.
  return spec.max_batch * (spec.image_bytes() + 8 * numbers) + _OTHER_BYTES


def read_request(spec: ServingSpec, message: Mapping[str, Any]) -> Request:
  """Returns the observation of a message, or its batch of observations.

  Raises:
    ValueError: a key that is missing or unknown, a shape, a dtype, a number
      that is not finite; by name.
  """
  known = request_keys(spec)
  optional = {'noise'} if spec.takes_noise else set()
  optional |= {'want'} if spec.num_image_tokens else set()
  if set(message) - optional != known:
    raise ValueError(
      f'A request must have the keys {sorted(known)}; missing '
      f'{sorted(known - set(message))}, unknown '
      f'{sorted(set(message) - known - optional)}.'
    )
  want = message.get('want', '')
  if want not in ('', TOKENS):
    raise ValueError(f'want must be {TOKENS!r} or left out: {want!r}.')
  if not want:
    check_has_token(spec)
  lead = _leading(message['proprio'], batch_limit(spec, want))
  images = {
    name: _array(
      message, f'{IMAGE}{name}', (*lead, *spec.image_shape(name), 3), np.uint8
    )
    for name in spec.cameras
  }
  proprio = _array(message, 'proprio', (*lead, spec.proprio_dim), np.float32)
  if not isinstance(message['prompt'], str):
    raise ValueError(f'prompt must be a str: {type(message["prompt"])}.')
  noise = None
  if 'noise' in message:
    chunk = (*lead, spec.horizon, spec.action_dim)
    noise = _array(message, 'noise', chunk, np.float32)
  return Request(images, proprio, message['prompt'], noise, want)


def _leading(proprio: Any, limit: int) -> tuple[int, ...]:
  """Returns (B,) of a batch, () of a single observation."""
  if not isinstance(proprio, np.ndarray) or proprio.ndim != 2:
    return ()
  size = len(proprio)
  if not 1 <= size <= limit:
    raise ValueError(f'A request must hold 1 to {limit} observations: {size}.')
  return (size,)


def make_reply(
  spec: ServingSpec,
  *,
  actions: np.ndarray,
  z_rl: np.ndarray,
  reference: np.ndarray,
) -> dict[str, Any]:
  """Returns the message of one answer, or of a batch with a leading [B].

  Args:
    spec: of the server.
    actions: [H, A] absolute joint targets, rad and m.
    z_rl: [Z].
    reference: [H, A] normalized units.

  Raises:
    ValueError: what breaks the schema, by name.
  """
  message = {
    'actions': np.asarray(actions, np.float32),
    'z_rl': np.asarray(z_rl, np.float32),
    'reference': np.asarray(reference, np.float32),
    'fingerprint': _fingerprint(spec),
  }
  read_reply(spec, message, len(z_rl) if np.ndim(z_rl) == 2 else None)
  return message


def read_reply(
  spec: ServingSpec, message: Mapping[str, Any], batch_size: int | None = None
) -> Reply:
  """Returns the answer of a message; other keys (timings) are ignored.

  Args:
    spec: of the server.
    message: the reply.
    batch_size: B of the request; None for a single observation.

  Raises:
    ValueError: a key that is missing, a shape, a dtype, a number that is not
      finite, another fingerprint; by name.
  """
  lead = () if batch_size is None else (batch_size,)
  chunk = (*lead, spec.horizon, spec.action_dim)
  reply = Reply(
    _array(message, 'actions', chunk, np.float32),
    _array(message, 'z_rl', (*lead, spec.z_dim), np.float32),
    _array(message, 'reference', chunk, np.float32),
  )
  _check_fingerprint(spec, message)
  return reply


def make_token_reply(
  spec: ServingSpec,
  *,
  actions: np.ndarray,
  reference: np.ndarray,
  tokens: np.ndarray,
  mask: np.ndarray,
) -> dict[str, Any]:
  """Returns the message of an answer with tokens; a batch leads with [B].

  Args:
    spec: of the server.
    actions, reference: as for `make_reply`.
    tokens: [N, D] of any float dtype; sent as the server's token_dtype.
    mask: bool [N].

  Raises:
    ValueError: what breaks the schema, by name; tokens beyond the range of
      token_dtype are not finite.
  """
  with np.errstate(over='ignore'):  # refused below
    tokens = np.asarray(tokens).astype(spec.token_dtype)
  message = {
    'actions': np.asarray(actions, np.float32),
    'reference': np.asarray(reference, np.float32),
    'tokens': tokens,
    'token_mask': np.asarray(mask, bool),
    'fingerprint': _fingerprint(spec),
  }
  read_token_reply(spec, message, len(tokens) if tokens.ndim == 3 else None)
  return message


def read_token_reply(
  spec: ServingSpec, message: Mapping[str, Any], batch_size: int | None = None
) -> TokenReply:
  """Returns the answer of a message with tokens; raises as `read_reply`."""
  lead = () if batch_size is None else (batch_size,)
  chunk = (*lead, spec.horizon, spec.action_dim)
  rows, dtype = (*lead, spec.num_image_tokens), np.dtype(spec.token_dtype)
  reply = TokenReply(
    _array(message, 'actions', chunk, np.float32),
    _array(message, 'reference', chunk, np.float32),
    _array(message, 'tokens', (*rows, spec.token_dim), dtype.type),
    _array(message, 'token_mask', rows, np.bool_),
  )
  _check_fingerprint(spec, message)
  return reply


def _check_fingerprint(spec: ServingSpec, message: Mapping[str, Any]) -> None:
  found = message.get('fingerprint')
  if found != _fingerprint(spec):
    raise ValueError(f'fingerprint must be {_fingerprint(spec)}: {found}.')


def _fingerprint(spec: ServingSpec) -> dict[str, str]:
  return {'vla': spec.vla_fingerprint, 'token': spec.token_fingerprint}


def _array(
  message: Mapping[str, Any],
  name: str,
  shape: tuple[int, ...],
  dtype: type[np.generic],
) -> np.ndarray:
  if name not in message:
    raise ValueError(f'A message must have {name}.')
  value = message[name]
  if not isinstance(value, np.ndarray):
    raise ValueError(f'{name} must be an array: {type(value).__name__}.')
  if value.shape != shape:
    raise ValueError(f'{name} must have the shape {shape}: {value.shape}.')
  if value.dtype != dtype:
    raise ValueError(f'{name} must be {np.dtype(dtype).name}: {value.dtype}.')
  if not np.isfinite(value).all():
    raise ValueError(f'{name} must be finite.')
  return value


def _same(a: Any, b: Any) -> bool:
  if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
    return len(a) == len(b) and all(map(_same, a, b))
  if isinstance(a, float) or isinstance(b, float):
    numbers = all(isinstance(x, (int, float)) for x in (a, b))
    flags = any(isinstance(x, bool) for x in (a, b))
    return numbers and not flags and math.isclose(a, b, rel_tol=1e-6)
  return type(a) is type(b) and a == b
