"""The interface of a frozen VLA, whatever its size or family.

Letters as in `rlt_jax.types`. A VLA of your own subclasses `FrozenVla` and
defines `spec`, `params`, `apply_with_noise`, `tokenize` and `proprio_stats`.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax.types import Array, Observation, Params, PRNGKey
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas.known_tasks import KnownTask


class VlaOutput(NamedTuple):
  """One query of the frozen VLA; batches lead with [B].

  tokens: [N, D] final prefix embeddings, image tokens first.
  mask: bool [N], False is padding.
  image_mask: bool [N], True where the token comes from a camera (Eq. 1 of the
    paper drops language tokens: with one instruction they are constant).
  reference: [H, A] sampled action chunk in normalized action units.
  """

  tokens: Array
  mask: Array
  image_mask: Array
  reference: Array


class ProprioStats(NamedTuple):
  """How a VLA normalizes proprioception: (proprio - mean) / std; both [P]."""

  mean: Array
  std: Array

  def normalize(self, proprio: Array) -> Array:
    """Returns normalized proprioception [..., P]."""
    return (proprio - self.mean) / self.std


@dataclasses.dataclass(frozen=True, kw_only=True)
class VlaSpec:
  """Inputs and outputs of a VLA; compared by name before anything runs.

  cameras: names of the images it reads.
  state: what the VLA itself reads as `Observation.proprio`: 'proprio', what the
    task measures [P], or 'joints', measured positions and then rates of the
    joints [2 A].
  proprio_dim: P, of what actor and critic measure.
  joint_names: [A] the order of every action and of the positions in proprio.
  control_hz: rate of the steps of a chunk, 1/s.
  action_mode: what an action is relative to, see `sim.action_space`.
  action_scale: [A] physical size (rad or m) of one normalized unit.
  fingerprint: hex digest of weights, normalization and sizes. Tokens and
    checkpoints name the VLA they belong to by it.
  """

  cameras: tuple[str, ...]
  image_size: int
  proprio_dim: int
  prompt_length: int
  num_tokens: int
  token_dim: int
  horizon: int
  action_dim: int
  joint_names: tuple[str, ...]
  control_hz: float
  action_mode: str
  action_scale: tuple[float, ...]
  fingerprint: str
  state: str = 'proprio'

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, list):  # as JSON reads a tuple
        object.__setattr__(self, field.name, tuple(value))
    for name in ('joint_names', 'action_scale'):
      if len(getattr(self, name)) != self.action_dim:
        raise ValueError(
          f'{name} must have action_dim entries, {self.action_dim}: '
          f'{getattr(self, name)}.'
        )
    if not self.control_hz > 0.0:
      raise ValueError(f'control_hz must be positive: {self.control_hz}.')

  @property
  def state_dim(self) -> int:
    """Entries of `Observation.proprio`."""
    return 2 * self.action_dim if self.state == 'joints' else self.proprio_dim

  def image_shape(self, camera: str) -> tuple[int, int]:
    """Returns height and width of a camera's images."""
    if camera not in self.cameras:
      raise ValueError(f'camera must be one of {self.cameras}: {camera!r}.')
    return self.image_size, self.image_size


class FrozenVla(abc.ABC):
  """A frozen VLA: images, proprioception and instruction to tokens and actions.

  spec: its inputs and outputs.
  params: pytree of arrays. They are an argument of every call, so that jit
    does not compile them into the program.
  reads_joints: whether it needs the joints' measured positions as the first A
    entries of proprio.
  tasks: that it was trained on; empty where that is not recorded, so that any
    task is let in.
  """

  reads_joints: bool = False
  tasks: tuple[KnownTask, ...] = ()
  spec: VlaSpec
  params: Params

  @abc.abstractmethod
  def apply_with_noise(
    self, params: Params, observation: Observation, noise: Array
  ) -> VlaOutput:
    """Maps observations and the flow's initial noise to tokens and chunks.

    Pure and traceable by JAX.

    Args:
      params: of this VLA.
      observation: batched, [B, ...], with every camera of the spec.
      noise: [B, H, A] standard normal where a method does not steer it. A VLA
        without a flow ignores it.
    """

  @abc.abstractmethod
  def tokenize(self, text: str) -> np.ndarray:
    """Returns the instruction as int32 [L], padded with 0.

    Raises:
      ValueError: an instruction that is empty or does not fit in L tokens.
    """

  @abc.abstractmethod
  def proprio_stats(self) -> ProprioStats:
    """Returns the statistics that normalize proprioception."""

  def for_task(self, task: Any) -> 'FrozenVla':
    """Returns the VLA for a task, a `TaskSpec`.

    Raises:
      ValueError: a task that it was not trained on.
    """
    if self.tasks:
      known_tasks.find(self.tasks, task)
    return self

  def sample_instruction(self) -> str:
    """Returns an instruction that `tokenize` accepts."""
    return self.tasks[0].instruction if self.tasks else 'none'

  def apply(
    self, params: Params, observation: Observation, key: PRNGKey
  ) -> VlaOutput:
    """Draws the noise and applies the VLA; pure and traceable.

    Args:
      params: of this VLA.
      observation: batched, [B, ...], with every camera of the spec.
      key: consumed; the initial noise, one draw per row.
    """
    rows = observation.proprio.shape[0]
    return self.apply_with_noise(
      params, observation, draw_noise(key, rows, self.spec)
    )

  def normalize_proprio(self, proprio: Array) -> Array:
    """Returns proprioception [..., P] as the actor and critic read it."""
    return self.proprio_stats().normalize(proprio)


class VlaHooks(NamedTuple):
  """What joint training of token and VLA (Eq. 2, alpha > 0) needs.

  params: the VLA's parameters, the starting point.
  tokens: (vla_params, data [B, ...]) -> image tokens [B, N, D].
  loss: (vla_params, data [B, ...], key) -> [] L_vla, its own training loss.
  """

  params: Params
  tokens: Callable[[Params, Any], Array]
  loss: Callable[[Params, Any, PRNGKey], Array]


class TrainableVla(FrozenVla):
  """A VLA that Stage 1 can fine-tune along with the token (alpha > 0)."""

  @abc.abstractmethod
  def training_hooks(self, num_image_tokens: int) -> VlaHooks:
    """Returns its loss and tokens; data are `demos.DemoBatch` [B, ...]."""

  @abc.abstractmethod
  def with_params(self, params: Params) -> 'TrainableVla':
    """Returns the VLA with other weights, and their own fingerprint."""

  @abc.abstractmethod
  def save(
    self,
    folder: str | pathlib.Path,
    *,
    metrics: Mapping[str, Any],
    command: Sequence[str],
    seed: int,
  ) -> None:
    """Writes the VLA's files, replacing older ones.

    Args:
      folder: created if missing.
      metrics: results worth keeping, JSON types.
      command: the command line that trained it.
      seed: of the training.
    """


def draw_noise(key: PRNGKey, rows: int, spec: Any) -> Array:
  """Returns standard normal noise [rows, H, A]; the key is consumed.

  Args:
    key: consumed.
    rows: B.
    spec: has `horizon` and `action_dim`.
  """
  return jax.random.normal(key, (rows, spec.horizon, spec.action_dim))


def check_shapes(vla: FrozenVla) -> None:
  """Traces a query of two observations and compares it with the spec.

  Nothing is computed, so this takes a second even for a large VLA.

  Raises:
    ValueError: outputs, statistics or prompts of another shape or type.
  """
  spec, rows = vla.spec, 2
  shape = jax.ShapeDtypeStruct
  observation = Observation(
    {c: shape((rows, *spec.image_shape(c), 3), np.uint8) for c in spec.cameras},
    shape((rows, spec.state_dim), np.float32),
    shape((rows, spec.prompt_length), np.int32),
  )
  noise = shape((rows, spec.horizon, spec.action_dim), np.float32)
  out = jax.eval_shape(vla.apply_with_noise, vla.params, observation, noise)
  if not isinstance(out, VlaOutput):
    raise ValueError(
      f'apply_with_noise must return a VlaOutput: {type(out).__name__}.'
    )
  stats = vla.proprio_stats()
  prompt = vla.tokenize(vla.sample_instruction())
  chunk = (spec.horizon, spec.action_dim)
  for name, value, expected, dtype in (
    ('tokens', out.tokens, (rows, spec.num_tokens, spec.token_dim), None),
    ('mask', out.mask, (rows, spec.num_tokens), np.bool_),
    ('image_mask', out.image_mask, (rows, spec.num_tokens), np.bool_),
    ('reference', out.reference, (rows, *chunk), None),
    ('proprio_stats().mean', stats.mean, (spec.proprio_dim,), None),
    ('proprio_stats().std', stats.std, (spec.proprio_dim,), None),
    ('tokenize(text)', prompt, (spec.prompt_length,), np.int32),
  ):
    if value.shape != expected or dtype not in (None, value.dtype):
      kind = 'floats' if dtype is None else np.dtype(dtype).name
      raise ValueError(
        f"The VLA's {name} must be {kind} {expected}, by its spec: "
        f'{value.dtype} {value.shape}.'
      )
  if not (np.asarray(stats.std) > 0.0).all():
    raise ValueError(
      f"The VLA's proprio_stats().std must be positive: {stats.std}."
    )


def check_contract(spec: Any, task: Any) -> None:
  """Checks that a VLA fits a task.

  Args:
    spec: `VlaSpec`, or a server's `ServingSpec`, of the VLA.
    task: `TaskSpec` of the task: cameras, image_size, proprio_names,
      joint_names and control_hz are read.

  Raises:
    ValueError: the first field that does not fit: the rule, both values, and
      what to do.
  """
  missing = [name for name in spec.cameras if name not in task.cameras]
  if missing:
    raise _misfit(
      'cameras', 'be cameras of the task', spec.cameras, tuple(task.cameras)
    )
  for name in spec.cameras:
    shape, side = spec.image_shape(name), task.image_size
    if shape != (side, side):
      value = shape[0] if shape[0] == shape[1] else f'{shape} of {name}'
      raise _misfit('image_size', 'be that of the task', value, side)
  rules = (
    ('proprio_dim', spec.proprio_dim, len(task.proprio_names)),
    ('action_dim', spec.action_dim, len(task.joint_names)),
  )
  for name, value, expected in rules:
    if value != expected:
      raise _misfit(name, 'be that of the task', value, expected)
  names, expected = tuple(spec.joint_names), tuple(task.joint_names)
  if names != expected:
    raise _misfit('joint_names', 'be those of the task', names, expected)
  if abs(spec.control_hz - task.control_hz) > 1e-6 * task.control_hz:
    raise _misfit(
      'control_hz', 'be that of the task', spec.control_hz, task.control_hz
    )


def check_proprio(vla: Any, task: Any) -> None:
  """Raises a ValueError if a VLA needs joints that a `TaskSpec` has not.

  Args:
    vla: a `FrozenVla`, or a server's `ServingSpec`.
    task: `TaskSpec` of the task.
  """
  if vla.reads_joints and not task.proprio_has_joints:
    raise ValueError(
      "The VLA computes its commands from the joints' positions, which must "
      f"begin the task's proprioception: {list(task.proprio_names[:3])} ... "
      'Give --set=task.proprio=joints, or another VLA.'
    )


def _misfit(name: str, rule: str, value: Any, expected: Any) -> ValueError:
  return ValueError(
    f"The VLA's {name} must {rule}, {expected}: {value}. Give --vla= a VLA "
    'trained for this task, or --task= the task of this VLA.'
  )
