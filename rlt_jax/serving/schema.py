"""The fields of one request and one reply: names, shapes and units.

Letters as in `types.py`: S image side, P proprioception, A action entries, H
reference steps, Z width of the RL token. A request:

  images/<camera>  uint8 [S, S, 3], one per camera
  proprio          float32 [P] as measured: positions (rad, m), then rates
  prompt           str, the instruction
  noise            float32 [H, A] initial noise of the flow; may be left out.
                   Only for a server with `takes_noise`

A reply has openpi's `actions` and our own keys beside it:

  actions      float32 [H, A] absolute joint targets, rad and m
  z_rl         float32 [Z]
  reference    float32 [H, A] the same chunk in normalized units
  fingerprint  {'vla': str, 'token': str}

Where the server's `max_batch` is above 1, a request may hold several
observations with one prompt: every array leads with [B], B up to max_batch,
and so do the arrays of the reply.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

_IMAGE = 'images/'
_SIZES = (
  'image_size',
  'proprio_dim',
  'horizon',
  'action_dim',
  'z_dim',
  'max_batch',
)
_NAMES = ('cameras', 'joint_names')
_NUMBERS = ('action_scale', 'proprio_mean', 'proprio_std')


class Request(NamedTuple):
  """One observation or a batch; shapes in the module's text."""

  images: dict[str, np.ndarray]
  proprio: np.ndarray
  prompt: str
  noise: np.ndarray | None = None

  @property
  def batch_size(self) -> int | None:
    """B, or None for a single observation without a leading [B]."""
    return len(self.proprio) if self.proprio.ndim == 2 else None


class Reply(NamedTuple):
  """One answer; shapes and units in the module's text."""

  actions: np.ndarray
  z_rl: np.ndarray
  reference: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingSpec:
  """Inputs and outputs of a server: its first frame, field by field.

  Fields that a `BundleSpec` of the robot has as well have the same names.
  """

  cameras: tuple[str, ...]
  image_size: int  # S
  proprio_dim: int  # P
  horizon: int  # H
  action_dim: int  # A
  z_dim: int  # Z
  joint_names: tuple[str, ...]  # [A], the order of every action
  action_mode: str  # 'offset' or 'increment'
  action_scale: tuple[float, ...]  # [A] rad or m per normalized unit
  vla_fingerprint: str
  token_fingerprint: str
  # A server may omit the following fields: practice in simulation needs them,
  # a robot does not.
  control_hz: float | None = None  # steps of a chunk per second
  proprio_mean: tuple[float, ...] = ()  # [P] of the VLA's normalization
  proprio_std: tuple[float, ...] = ()  # [P]
  max_batch: int = 1  # observations in one request
  takes_noise: bool = False  # whether a request may hold the flow's noise

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):  # as msgpack reads a tuple
        object.__setattr__(self, field.name, tuple(value))
    for name in _SIZES:
      value = getattr(self, name)
      if type(value) is not int or value < 1:
        raise ValueError(f'{name} must be an integer from 1 on: {value!r}.')
    if type(self.takes_noise) is not bool:
      raise ValueError(f'takes_noise must be a bool: {self.takes_noise!r}.')
    rate = self.control_hz
    if rate is not None and not (isinstance(rate, (int, float)) and rate > 0):
      raise ValueError(f'control_hz must be a positive number: {rate!r}.')
    for name in (*_NAMES, *_NUMBERS):
      value = getattr(self, name)
      if not isinstance(value, tuple):
        raise ValueError(f'{name} must be a list: {value!r}.')
      kind = str if name in _NAMES else (int, float)
      if not all(isinstance(x, kind) for x in value):
        raise ValueError(f'{name} must hold numbers or names: {value}.')
    for name in _NAMES:
      value = getattr(self, name)
      if len(set(value)) != len(value):
        raise ValueError(f'{name} must be distinct: {value}.')
    for name in ('joint_names', 'action_scale'):
      if len(getattr(self, name)) != self.action_dim:
        raise ValueError(
          f'{name} must have action_dim entries, {self.action_dim}: '
          f'{len(getattr(self, name))}.'
        )
    for name in ('proprio_mean', 'proprio_std'):
      if len(getattr(self, name)) not in (0, self.proprio_dim):
        raise ValueError(
          f'{name} must have proprio_dim entries, {self.proprio_dim}, or none: '
          f'{len(getattr(self, name))}.'
        )

  def metadata(self) -> dict[str, Any]:
    """Returns the server's first message."""
    return dataclasses.asdict(self)


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
) -> dict[str, Any]:
  """Returns the message of one observation, or of a batch with a leading [B].

  Args:
    spec: of the server.
    images: camera name -> uint8 [S, S, 3].
    proprio: [P] as measured; any float dtype.
    prompt: the instruction.
    noise: [H, A] initial noise of the flow; None leaves it to the server.

  Raises:
    ValueError: what breaks the schema, by name.
  """
  message = {f'{_IMAGE}{name}': image for name, image in images.items()}
  message['proprio'] = np.asarray(proprio, np.float32)
  message['prompt'] = prompt
  if noise is not None:
    message['noise'] = np.asarray(noise, np.float32)
  read_request(spec, message)
  return message


def read_request(spec: ServingSpec, message: Mapping[str, Any]) -> Request:
  """Returns the observation of a message, or its batch of observations.

  Raises:
    ValueError: a key that is missing or unknown, a shape, a dtype, a number
      that is not finite; by name.
  """
  known = {f'{_IMAGE}{name}' for name in spec.cameras} | {'proprio', 'prompt'}
  optional = {'noise'} if spec.takes_noise else set()
  if set(message) - optional != known:
    raise ValueError(
      f'A request must have the keys {sorted(known)}; missing '
      f'{sorted(known - set(message))}, unknown '
      f'{sorted(set(message) - known - optional)}.'
    )
  lead = _leading(spec, message['proprio'])
  side = spec.image_size
  images = {
    name: _array(message, f'{_IMAGE}{name}', (*lead, side, side, 3), np.uint8)
    for name in spec.cameras
  }
  proprio = _array(message, 'proprio', (*lead, spec.proprio_dim), np.float32)
  if not isinstance(message['prompt'], str):
    raise ValueError(f'prompt must be a str: {type(message["prompt"])}.')
  noise = None
  if 'noise' in message:
    chunk = (*lead, spec.horizon, spec.action_dim)
    noise = _array(message, 'noise', chunk, np.float32)
  return Request(images, proprio, message['prompt'], noise)


def _leading(spec: ServingSpec, proprio: Any) -> tuple[int, ...]:
  """Returns (B,) of a batch, () of a single observation."""
  if not isinstance(proprio, np.ndarray) or proprio.ndim != 2:
    return ()
  size = len(proprio)
  if not 1 <= size <= spec.max_batch:
    raise ValueError(
      f'A request must hold 1 to {spec.max_batch} observations: {size}.'
    )
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
  found = message.get('fingerprint')
  if found != _fingerprint(spec):
    raise ValueError(f'fingerprint must be {_fingerprint(spec)}: {found}.')
  return reply


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
  if isinstance(a, float) and isinstance(b, float):
    return math.isclose(a, b, rel_tol=1e-6)
  return type(a) is type(b) and a == b
