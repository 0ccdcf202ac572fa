"""The exported policy: a folder with one JSON and one safetensors file.

`bundle.json` holds everything that a robot host and a learner must agree on
before anything moves; `policy.safetensors` holds the actor's layers. Written
by `export.bundle`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from rlt_jax import config as config_lib

FORMAT_VERSION = 3
RECORD, WEIGHTS = 'bundle.json', 'policy.safetensors'
JAX_EXPORT, ONNX = 'policy.jaxexport', 'policy.onnx'  # other forms of it
# 'per_chunk': one draw an action entry, held over the chunk. 'per_step': one
# draw every step.
NOISE_KINDS = ('per_chunk', 'per_step')


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleSpec:
  """What a policy takes and gives, how it is learned and where it is from.

  Shapes follow the legend: Z, P, C, A. Joint limits and scales are in
  `joint_units`; an action entry of 1 is `action_scale` of its unit.
  """

  chunk_size: int  # C
  # Control steps from an observation to the first step that it decides.
  inference_delay: int
  replay_stride: int  # control steps between two recorded observations
  z_dim: int  # Z
  hidden_dims: tuple[int, ...]
  reference_input: bool
  frozen_action_dims: tuple[int, ...]  # always "stay"
  exploration_std: float  # normalized units
  exploration_noise: str  # of NOISE_KINDS
  gamma: float  # discount per control step, of the learner
  intervention_reference: str  # of the learner, see `replay.build_rows`
  control_hz: float
  joint_names: tuple[str, ...]  # [A], the order of every action
  joint_units: tuple[str, ...]  # [A], 'rad' or 'm'
  joint_low: tuple[float, ...]  # [A]
  joint_high: tuple[float, ...]  # [A]
  reach: tuple[float, ...]  # [A] a command's largest distance from the pose
  action_mode: str  # 'offset' or 'increment'
  action_scale: tuple[float, ...]  # [A]
  proprio_names: tuple[str, ...]  # [P]
  proprio_mean: tuple[float, ...]  # [P]
  proprio_std: tuple[float, ...]  # [P]
  cameras: tuple[str, ...]
  prompt: str
  vla_fingerprint: str
  token_fingerprint: str
  run: Mapping[str, Any]  # command, commit, env_steps, versions, created
  weights_sha256: str = ''
  format_version: int = FORMAT_VERSION

  def __post_init__(self):
    if self.replay_stride < 1 or self.chunk_size % self.replay_stride:
      raise ValueError(
        f'replay_stride must divide chunk_size {self.chunk_size}: '
        f'{self.replay_stride}.'
      )
    if self.exploration_noise not in NOISE_KINDS:
      raise ValueError(
        f'exploration_noise must be one of {NOISE_KINDS}: '
        f'{self.exploration_noise!r}.'
      )
    action_dim = len(self.joint_names)
    for name in (
      'joint_units', 'joint_low', 'joint_high', 'reach', 'action_scale'
    ):  # fmt: skip
      if len(getattr(self, name)) != action_dim:
        raise ValueError(
          f'{name} must have an entry per joint, {action_dim}: '
          f'{len(getattr(self, name))}.'
        )
    for name in ('proprio_mean', 'proprio_std'):
      if len(getattr(self, name)) != len(self.proprio_names):
        raise ValueError(
          f'{name} must have an entry per proprioception name, '
          f'{len(self.proprio_names)}: {len(getattr(self, name))}.'
        )
    if self.format_version != FORMAT_VERSION:
      raise ValueError(
        f'format_version must be {FORMAT_VERSION}: {self.format_version}.'
      )

  @property
  def action_dim(self) -> int:
    """A."""
    return len(self.joint_names)

  @property
  def proprio_dim(self) -> int:
    """P."""
    return len(self.proprio_names)


def load(folder: str | pathlib.Path) -> tuple[BundleSpec, list[np.ndarray]]:
  """Reads a bundle.

  Returns:
    The spec, and the actor's layers: kernel [in, out], bias [out], alternating.

  Raises:
    ValueError: a field that is missing, unknown or of the wrong type (the new
      name of an old field is named), weights with another digest than the
      record's, or layers that do not fit the spec.
  """
  folder = pathlib.Path(folder)
  path = folder / RECORD
  try:
    spec = config_lib.from_json(BundleSpec, path.read_text())
  except ValueError as error:
    raise ValueError(
      f'{path}: {error} A bundle of another version must be exported again.'
    ) from None
  digest = sha256(folder / WEIGHTS)
  if digest != spec.weights_sha256:
    raise ValueError(
      f'{WEIGHTS} must have the digest {spec.weights_sha256} of {RECORD}: '
      f'{digest}.'
    )
  stored = load_file(folder / WEIGHTS)
  layers = [stored[f'{i:02d}'] for i in range(len(stored))]
  check_layers(spec, layers)
  return spec, layers


def sha256(path: pathlib.Path) -> str:
  """Returns a file's digest."""
  return hashlib.sha256(path.read_bytes()).hexdigest()


def check_layers(spec: BundleSpec, layers: Sequence[np.ndarray]) -> None:
  """Raises a ValueError unless the layers are those the spec promises."""
  out = spec.chunk_size * spec.action_dim
  inputs = spec.z_dim + spec.proprio_dim + out * spec.reference_input
  widths = (inputs, *spec.hidden_dims, out)
  expected = []
  for before, after in zip(widths[:-1], widths[1:], strict=True):
    expected += [(before, after), (after,)]
  found = [x.shape for x in layers]
  if found != expected:
    raise ValueError(f'Layers must have the shapes {expected}: {found}.')


def check_host(spec: BundleSpec, **host: Any) -> None:
  """Raises a ValueError that names the first field that differs.

  Args:
    spec: of the bundle.
    **host: fields of `BundleSpec` as the host or the learner has them.
  """
  for name, value in host.items():
    own = getattr(spec, name)
    value = tuple(value) if isinstance(value, list) else value
    if own != value:
      raise ValueError(f"{name} must be the bundle's {own}: {value}.")
