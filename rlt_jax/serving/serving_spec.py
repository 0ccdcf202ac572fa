"""What a VLA server states in its first frame."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np

from rlt_jax.serving import codec

TOKEN_DTYPES = ('float16', 'float32')
_MAX_BATCH = 64  # observations in one request, if a frame can hold them
_SIZES = ('proprio_dim', 'horizon', 'action_dim', 'max_batch')
_MAYBE_ZERO = ('image_size', 'z_dim', 'num_image_tokens', 'token_dim')
_NAMES = ('cameras', 'joint_names')
_NUMBERS = ('action_scale', 'proprio_mean', 'proprio_std')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingSpec:
  """Inputs and outputs of a server: its first frame, field by field.

  Fields that a `BundleSpec` of the robot has as well have the same names.
  """

  cameras: tuple[str, ...]
  image_size: int  # S; 0 with `image_shapes`
  proprio_dim: int  # P
  horizon: int  # H
  action_dim: int  # A
  z_dim: int  # Z; 0 of a server without an RL token, which gives tokens only
  joint_names: tuple[str, ...]  # [A], the order of every action
  action_mode: str  # 'offset' or 'increment'
  action_scale: tuple[float, ...]  # [A] rad or m per normalized unit
  vla_fingerprint: str
  token_fingerprint: str  # '' without an RL token
  # A server may omit the following fields. Practice in simulation needs the
  # next three, a robot does not.
  control_hz: float | None = None  # steps of a chunk per second
  proprio_mean: tuple[float, ...] = ()  # [P] of the VLA's normalization
  proprio_std: tuple[float, ...] = ()  # [P]
  max_batch: int = 1  # observations in one request
  takes_noise: bool = False  # whether a request may hold the flow's noise
  # Whether proprio must begin with the joints' measured positions.
  reads_joints: bool = False
  # (height, width) of each camera's images, where they are not S by S.
  image_shapes: tuple[tuple[int, int], ...] = ()
  # The tokens that a request may want; 0 and empty where there are none.
  num_image_tokens: int = 0  # N, of all cameras, in the order of `cameras`
  token_dim: int = 0  # D
  token_dtype: str = ''  # as they travel: 'float16' or 'float32'
  camera_tokens: tuple[int, ...] = ()  # how many of the N each camera has

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):  # as msgpack reads a tuple
        value = (tuple(x) if isinstance(x, list) else x for x in value)
        object.__setattr__(self, field.name, tuple(value))
    self._check_types()
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
    _check_images(self)
    _check_tokens(self)

  def image_shape(self, camera: str) -> tuple[int, int]:
    """Returns height and width of a camera's images."""
    if not self.image_shapes:
      return self.image_size, self.image_size
    return self.image_shapes[self.cameras.index(camera)]

  def image_bytes(self) -> int:
    """Returns the size of one observation's images."""
    return sum(3 * math.prod(self.image_shape(name)) for name in self.cameras)

  def token_bytes(self) -> int:
    """Returns the size of one observation's tokens; 0 if none are given."""
    if not self.num_image_tokens:
      return 0
    size = np.dtype(self.token_dtype).itemsize
    return self.num_image_tokens * self.token_dim * size

  def token_batch(self) -> int:
    """Returns how many observations' tokens one array may hold."""
    return codec.MAX_ARRAY_BYTES // max(1, self.token_bytes())

  def metadata(self) -> dict[str, Any]:
    """Returns the server's first message."""
    return dataclasses.asdict(self)

  def _check_types(self) -> None:
    for name in (*_SIZES, *_MAYBE_ZERO):
      value, low = getattr(self, name), int(name in _SIZES)
      if type(value) is not int or value < low:
        raise ValueError(f'{name} must be an integer from {low} on: {value!r}.')
    for name in ('takes_noise', 'reads_joints'):
      if type(getattr(self, name)) is not bool:
        raise ValueError(f'{name} must be a bool: {getattr(self, name)!r}.')
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


def _check_images(spec: ServingSpec) -> None:
  shapes = spec.image_shapes
  if bool(shapes) == bool(spec.image_size):
    raise ValueError(
      'A server must have either image_size above 0 or image_shapes: '
      f'{spec.image_size}, {shapes!r}.'
    )
  fits = isinstance(shapes, tuple) and all(
    _are_sizes(shape) and len(shape) == 2 for shape in shapes
  )
  if not fits or (shapes and len(shapes) != len(spec.cameras)):
    raise ValueError(
      'image_shapes must be (height, width) of each camera, '
      f'{list(spec.cameras)}: {shapes!r}.'
    )


def _check_tokens(spec: ServingSpec) -> None:
  if bool(spec.z_dim) != bool(spec.token_fingerprint):
    raise ValueError(
      'z_dim must be above 0 if and only if there is a token_fingerprint: '
      f'{spec.z_dim}, {spec.token_fingerprint!r}.'
    )
  if not spec.num_image_tokens:
    if spec.token_dim or spec.token_dtype or spec.camera_tokens:
      raise ValueError(
        'token_dim, token_dtype and camera_tokens must be left out without '
        f'num_image_tokens: {spec.token_dim}, {spec.token_dtype!r}, '
        f'{spec.camera_tokens!r}.'
      )
    if not spec.z_dim:
      raise ValueError(
        'z_dim must be an integer from 1 on, unless the server gives tokens '
        '(num_image_tokens): 0.'
      )
    return
  if not spec.token_dim or spec.token_dtype not in TOKEN_DTYPES:
    raise ValueError(
      f'Tokens must have a token_dim and a token_dtype of {TOKEN_DTYPES}: '
      f'{spec.token_dim}, {spec.token_dtype!r}.'
    )
  if not spec.token_batch():
    raise ValueError(
      'The tokens of one observation must have at most '
      f'{codec.MAX_ARRAY_BYTES} bytes: {spec.token_bytes()}. Send them as '
      'float16, or of fewer cameras.'
    )
  counts = spec.camera_tokens
  if counts != () and not (
    _are_sizes(counts)
    and len(counts) == len(spec.cameras)
    and sum(counts) == spec.num_image_tokens
  ):
    raise ValueError(
      'camera_tokens must be the tokens of each camera, together '
      f'num_image_tokens, {spec.num_image_tokens}: {counts!r}.'
    )


def _are_sizes(value: Any) -> bool:
  return isinstance(value, Sequence) and all(
    type(x) is int and x > 0 for x in value
  )


def with_batches(spec: ServingSpec) -> ServingSpec:
  """Returns the spec with as many observations in a request as are sensible."""
  # Half a frame leaves room for everything that is not an image.
  fit = codec.MAX_FRAME_BYTES // (2 * spec.image_bytes())
  return dataclasses.replace(spec, max_batch=min(_MAX_BATCH, max(1, fit)))


def with_token(spec: ServingSpec, token: Any) -> ServingSpec:
  """Returns the spec of a server that has an RL token.

  Args:
    spec: of the server without one.
    token: the `TokenSpec` of its record.

  Raises:
    ValueError: a token of another VLA or of other sizes.
  """
  for name in ('vla_fingerprint', 'num_image_tokens', 'token_dim'):
    own, other = getattr(spec, name), getattr(token, name)
    if own != other:
      raise ValueError(f"{name} of the token must be the VLA's {own}: {other}.")
  return dataclasses.replace(
    spec, z_dim=token.z_dim, token_fingerprint=token.fingerprint
  )
