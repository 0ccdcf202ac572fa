"""The exported policy: a folder with one JSON and one safetensors file.

`bundle.json` holds everything that a robot host and a learner must agree on
before anything moves; `policy.safetensors` holds the actor's layers.
`SHA256SUMS` has the digest of every file, as `sha256sum -c` reads it: one
changed bit anywhere is refused. Written by `export.bundle`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import math
import pathlib
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from rlt_jax import config as config_lib
from rlt_jax import files

FORMAT_VERSION = 4
RECORD, WEIGHTS = 'bundle.json', 'policy.safetensors'
DIGESTS = 'SHA256SUMS'
JAX_EXPORT, ONNX = 'policy.jaxexport', 'policy.onnx'  # other forms of it
# 'per_chunk': one draw an action entry, held over the chunk. 'per_step': one
# draw every step.
NOISE_KINDS = ('per_chunk', 'per_step')
ACTION_MODES = ('offset', 'increment')
UNITS = ('rad', 'm')
INTERVENTION_REFERENCES = ('human', 'vla')
# Normalized units are about a standard deviation of the demonstrations'
# actions: an arm that explores by more than this only shakes.
_MAX_NOISE = 3.0
_MAX_HZ = 200.0  # the loop was never run faster
_PER_JOINT = ('joint_units', 'joint_low', 'joint_high', 'reach', 'action_scale')


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
  format_version: int = FORMAT_VERSION

  def __post_init__(self):
    _require(self.format_version == FORMAT_VERSION, 'format_version',
             FORMAT_VERSION, self.format_version)  # fmt: skip
    self._check_sizes()
    self._check_numbers()
    self._check_learning()

  def _check_sizes(self) -> None:
    for name in ('joint_names', 'proprio_names', 'cameras'):
      names = getattr(self, name)
      fits = names and all(names) and len(set(names)) == len(names)
      _require(fits, name, 'distinct names', names)
    for names, fields in (
      ('joint_names', _PER_JOINT),
      ('proprio_names', ('proprio_mean', 'proprio_std')),
    ):
      for name in fields:
        size, found = len(getattr(self, names)), len(getattr(self, name))
        rule = f'as long as {names}, {size}'
        _require(found == size, name, rule, found)
    for name in ('chunk_size', 'z_dim', 'replay_stride'):
      value = getattr(self, name)
      _require(value >= 1, name, 'at least 1', value)
    hidden = self.hidden_dims
    _require(hidden and min(hidden) >= 1, 'hidden_dims', 'positive', hidden)
    frozen = self.frozen_action_dims
    _require(
      list(frozen) == sorted(set(frozen) & set(range(self.action_dim)))
      and len(frozen) < self.action_dim,
      'frozen_action_dims',
      f'rising entries of 0 to {self.action_dim - 1}, and not all',
      frozen,
    )
    for name in ('prompt', 'vla_fingerprint', 'token_fingerprint'):
      _require(getattr(self, name), name, 'a text', getattr(self, name))

  def _check_numbers(self) -> None:
    for name in ('joint_low', 'joint_high', 'proprio_mean'):
      value = getattr(self, name)
      _require(all(map(math.isfinite, value)), name, 'finite', value)
    for name in ('reach', 'action_scale', 'proprio_std'):
      value = getattr(self, name)
      fits = all(0.0 < x < math.inf for x in value)
      _require(fits, name, 'positive and finite', value)
    units = self.joint_units
    _require(set(units) <= set(UNITS), 'joint_units', f'of {UNITS}', units)
    for i, joint in enumerate(self.joint_names):
      low, high = self.joint_low[i], self.joint_high[i]
      rule = f'below joint_high {high} for {joint}'
      _require(low < high, 'joint_low', rule, low)
    rate = self.control_hz
    _require(1.0 <= rate <= _MAX_HZ, 'control_hz', f'1 to {_MAX_HZ}', rate)
    std = self.exploration_std
    rule = f'0 to {_MAX_NOISE} normalized units'
    _require(0.0 <= std <= _MAX_NOISE, 'exploration_std', rule, std)

  def _check_learning(self) -> None:
    size, stride, delay = (
      self.chunk_size, self.replay_stride, self.inference_delay
    )  # fmt: skip
    rule = f'a divisor of chunk_size {size}'
    _require(size % stride == 0, 'replay_stride', rule, stride)
    rule = f'a multiple of replay_stride {stride} below chunk_size {size}'
    fits = 0 <= delay < size and delay % stride == 0
    _require(fits, 'inference_delay', rule, delay)
    rule = f'0 with actions of mode {self.action_mode}'
    fits = self.action_mode == 'offset' or delay == 0
    _require(fits, 'inference_delay', rule, delay)
    gamma = self.gamma
    _require(0.0 < gamma <= 1.0, 'gamma', 'above 0 and at most 1', gamma)
    for name, kinds in (
      ('action_mode', ACTION_MODES),
      ('exploration_noise', NOISE_KINDS),
      ('intervention_reference', INTERVENTION_REFERENCES),
    ):
      value = getattr(self, name)
      _require(value in kinds, name, f'one of {kinds}', repr(value))

  @property
  def action_dim(self) -> int:
    """A."""
    return len(self.joint_names)

  @property
  def proprio_dim(self) -> int:
    """P."""
    return len(self.proprio_names)

  @property
  def practiced_steps(self) -> int:
    """Control steps that the actor has practiced, 0 if it is untrained."""
    return self.run.get('env_steps', 0)


def load(folder: str | pathlib.Path) -> tuple[BundleSpec, list[np.ndarray]]:
  """Reads a bundle, after comparing all of its files with their digests.

  Returns:
    The spec, and the actor's layers: kernel [in, out], bias [out], alternating.

  Raises:
    ValueError: a file that was changed, a field that is missing, unknown or
      breaks its rule (the new name of an old field is named), or layers that
      do not fit the spec.
    OSError: there is no such folder, or a file cannot be read.
  """
  folder = pathlib.Path(folder)
  content = _read_checked(folder)
  path = folder / RECORD
  try:
    spec = config_lib.from_json(BundleSpec, content[RECORD].decode())
  except ValueError as error:
    raise ValueError(
      f'{path}: {error} A bundle of another version must be exported again.'
    ) from None
  try:
    stored = load_weights(content[WEIGHTS])
    check_layers(spec, stored)
  except ValueError as error:
    raise ValueError(f'{folder / WEIGHTS}: {error}') from None
  return spec, stored


def digest(folder: str | pathlib.Path) -> str:
  """Returns the SHA-256 of a bundle's record, which tells bundles apart.

  Loop, journal, learner and snapshots name it: data that another bundle
  normalized must not be learned from.

  Raises:
    OSError: there is no such bundle.
  """
  content = (pathlib.Path(folder) / RECORD).read_bytes()
  return hashlib.sha256(content).hexdigest()


def load_weights(content: bytes) -> list[np.ndarray]:
  """Returns the layers in a safetensors file; `check_layers` is still to come.

  Raises:
    ValueError: it is no such file, or its arrays are not named 00, 01, ...
  """
  try:
    stored = load_safetensors(content)
  except SafetensorError as error:
    raise ValueError(f'It must be a safetensors file: {error}.') from None
  names = [f'{i:02d}' for i in range(len(stored))]
  if sorted(stored) != names:
    raise ValueError(f'Its arrays must be {names}: {sorted(stored)}.')
  return [stored[name] for name in names]


def write_digests(folder: str | pathlib.Path) -> None:
  """Writes SHA256SUMS of all files of a folder; without it, it is no bundle."""
  folder = pathlib.Path(folder)
  lines = [
    f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n'
    for path in sorted(folder.iterdir())
    if path.name != DIGESTS
  ]
  files.write_atomically(folder / DIGESTS, ''.join(lines))


def _read_checked(folder: pathlib.Path) -> dict[str, bytes]:
  """Returns file name -> content of a bundle whose digests are right."""
  path = folder / DIGESTS
  if not folder.is_dir():
    raise FileNotFoundError(2, 'No such folder', str(folder))
  if not path.exists():
    raise ValueError(
      f'A bundle must have {DIGESTS}: {folder} is not whole, or of an older '
      'version. Export it again.'
    )
  sums = {}
  for line in path.read_bytes().decode('utf-8', 'replace').split('\n')[:-1]:
    digest, _, name = line.partition('  ')
    sums[name] = digest
  # Also what is there without a digest: nothing may be used unchecked.
  others = {JAX_EXPORT, ONNX} & {x.name for x in folder.iterdir()}
  content = {}
  for name in sorted({RECORD, WEIGHTS, *others, *sums}):
    if name not in sums or '/' in name or not (folder / name).is_file():
      raise ValueError(
        f'Every file of a bundle must be in its {DIGESTS}, and there: '
        f'{folder / name}.'
      )
    content[name] = (folder / name).read_bytes()
    found = hashlib.sha256(content[name]).hexdigest()
    if found != sums[name]:
      raise ValueError(
        f'{folder / name} was changed after it was exported: its digest must '
        f'be {sums[name]}, as in {DIGESTS}: {found}. Export it again.'
      )
  return content


def read_form(folder: str | pathlib.Path, name: str) -> bytes:
  """Returns another form of the policy, JAX_EXPORT or ONNX.

  Raises:
    ValueError: the bundle is not whole, or has no such form.
  """
  content = _read_checked(pathlib.Path(folder))
  if name not in content:
    raise ValueError(f'The bundle must have been exported with {name}.')
  return content[name]


def check_layers(spec: BundleSpec, layers: Sequence[np.ndarray]) -> None:
  """Raises a ValueError unless layers have the spec's shapes and are finite."""
  out = spec.chunk_size * spec.action_dim
  inputs = spec.z_dim + spec.proprio_dim + out * spec.reference_input
  widths = (inputs, *spec.hidden_dims, out)
  expected = []
  for before, after in zip(widths[:-1], widths[1:], strict=True):
    expected += [(before, after), (after,)]
  found = [x.shape for x in layers]
  if found != expected:
    raise ValueError(f'Layers must have the shapes {expected}: {found}.')
  kinds = {str(x.dtype) for x in layers}
  if kinds != {'float32'}:
    raise ValueError(f'Layers must be float32: {sorted(kinds)}.')
  if not all(np.isfinite(x).all() for x in layers):
    raise ValueError('Layers must hold finite numbers: some are not.')


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


def _require(fits: Any, name: str, rule: Any, value: Any) -> None:
  if not fits:
    raise ValueError(f'{name} must be {rule}: {value}.')
