"""The trained VLA as one object: spec, weights and files."""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import importlib.resources
import json
import pathlib
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_arrays

from rlt_jax import files, float16
from rlt_jax.types import Array, Observation, Params
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas.known_tasks import KnownTask
from rlt_jax.vlas.pi_small import joint_training, model, tokenizer
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.task_view import TaskView
from rlt_jax.vlas.vla import (
  FrozenVla,
  ProprioStats,
  TrainableVla,
  VlaHooks,
  VlaOutput,
  VlaSpec,
)

_WEIGHTS = 'vla.safetensors'
_RECORD = 'vla.json'
# Recorded after the first weights were published: not part of the fingerprint.
_NOT_IN_FINGERPRINT = ('joint_names', 'control_hz')


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PiVla(TrainableVla):
  """A small frozen flow-matching VLA.

  params: 'prefix', 'expert', 'readout' and 'norm' (a `model.VlaNorm`).
  """

  spec: VlaSpec
  config: PiConfig
  params: Params
  tasks: tuple[KnownTask, ...] = ()

  def apply_with_noise(
    self, params: Params, observation: Observation, noise: Array
  ) -> VlaOutput:
    """Maps observation [B, ...] and noise [B, H, A]; see `FrozenVla`."""
    chunk, out = model.sample(params, observation, noise, config=self.config)
    return VlaOutput(out.tokens, out.mask, out.image_mask, chunk)

  def tokenize(self, text: str) -> np.ndarray:
    """Returns the instruction as int32 [L]; see `tokenizer.tokenize`.

    Raises:
      ValueError: no word, too many, or one in no instruction of its tasks.
    """
    if not self.config.words:  # a hash has a place for every word
      tokenizer.check_words(text, self._known_words())
    return self.config.tokenize(text)

  def _known_words(self) -> tuple[str, ...]:
    """Returns the words of its tasks; none where the tasks are not known."""
    texts = [text for task in self.tasks for text in task.instructions()]
    return tokenizer.collect(texts)

  def for_task(self, task: Any) -> FrozenVla:
    """Returns the VLA for a task; see `FrozenVla`."""
    if not self.tasks:
      return self
    known = known_tasks.find(self.tasks, task)
    if self.config.state == 'joints':
      return TaskView(self, known, known_tasks.measured(known, task))
    if known.proprio:  # which older weights do not record
      known_tasks.measured(known, task)
    return self

  def proprio_stats(self) -> ProprioStats:
    """Returns mean and std of the state in the demonstrations."""
    norm = self.params['norm']
    return ProprioStats(norm.proprio_mean, norm.proprio_std)

  def training_hooks(self, num_image_tokens: int) -> VlaHooks:
    """Returns the flow-matching loss and image tokens; see `TrainableVla`."""
    return joint_training.make_hooks(self.params, self.config, num_image_tokens)

  def with_params(self, params: Params) -> 'PiVla':
    """Returns the VLA with other weights, rounded to float16."""
    names = ('action_mode', 'action_scale', 'joint_names', 'control_hz')
    facts = {name: getattr(self.spec, name) for name in names}
    return make(params, self.config, tasks=self.tasks, **facts)

  def save(self, folder, *, metrics, command, seed):
    """Writes vla.safetensors and vla.json; see `save`."""
    save(folder, self, metrics=metrics, command=command, seed=seed)


def make(
  params: Params,
  config: PiConfig,
  *,
  action_mode: str,
  action_scale: Sequence[float],
  joint_names: Sequence[str],
  control_hz: float,
  tasks: Sequence[KnownTask] = (),
) -> PiVla:
  """Bundles trained params, rounded to float16 so that files lose nothing.

  Args:
    params: of `model.init_params`, trained or not.
    config: the sizes.
    action_mode: what a chunk's numbers command.
    action_scale: [A] rad or m per normalized unit.
    joint_names: [A].
    control_hz: steps of a chunk per second.
    tasks: that it was trained on; empty where that is not known.
  """
  scale = tuple(float(x) for x in action_scale)
  if len(scale) != config.action_dim or min(scale) <= 0.0:
    raise ValueError(
      f'action_scale must be {config.action_dim} positive numbers: {scale}.'
    )
  packed = _pack(params)
  spec = VlaSpec(
    cameras=config.cameras,
    image_size=config.image_size,
    proprio_dim=config.proprio_dim,
    prompt_length=config.prompt_length,
    num_tokens=config.num_tokens,
    token_dim=config.prefix_width,
    horizon=config.horizon,
    action_dim=config.action_dim,
    joint_names=tuple(joint_names),
    control_hz=float(control_hz),
    action_mode=action_mode,
    action_scale=scale,
    fingerprint='',
    state=config.state,
  )
  digest = _digest(packed, config, spec, tasks)
  return PiVla(
    spec=dataclasses.replace(spec, fingerprint=digest),
    config=config,
    params=_unpack(packed),
    tasks=tuple(tasks),
  )


def check_spec(spec: VlaSpec, **expected: Any) -> None:
  """Raises a ValueError naming the first field that does not fit.

  Args:
    spec: of the VLA.
    **expected: fields of `VlaSpec` by name, with the values needed; a float
      may differ by one part in a million, as float32 files make it.
  """
  names = [field.name for field in dataclasses.fields(spec)]
  for name, value in expected.items():
    if name not in names:
      raise ValueError(f'VlaSpec has no field {name!r}; it has {names}.')
    actual = getattr(spec, name)
    if name == 'action_scale':
      fits = len(actual) == len(value) and np.allclose(
        actual, value, rtol=1e-6, atol=0.0
      )
    else:
      fits = actual == (tuple(value) if isinstance(value, list) else value)
    if not fits:
      raise ValueError(f'The VLA needs {name} {actual}: {value}.')


def save(
  folder: str | pathlib.Path,
  vla: PiVla,
  *,
  metrics: Mapping[str, Any],
  command: Sequence[str],
  seed: int,
) -> None:
  """Writes vla.safetensors (float16 weights) and vla.json, replacing both.

  Args:
    folder: created if missing.
    vla: of `make`.
    metrics: results worth keeping, JSON types.
    command: the command line that trained it.
    seed: of the training.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  record = {
    'config': dataclasses.asdict(vla.config),
    'spec': dataclasses.asdict(vla.spec),
    'tasks': [dataclasses.asdict(task) for task in vla.tasks],
    'metrics': dict(metrics),
    'command': list(command),
    'seed': seed,
  }
  # Each file is whole at any moment; a pair torn by a kill between the two
  # does not load, for its fingerprint differs.
  files.write_atomically(folder / _WEIGHTS, save_arrays(_pack(vla.params)))
  text = json.dumps(record, indent=2) + '\n'
  files.write_atomically(folder / _RECORD, text)


def load(
  folder: str | pathlib.Path, *, expect: Mapping[str, Any] | None = None
) -> PiVla:
  """Reads a VLA back, its weights as float32.

  Args:
    folder: as `save` left it.
    expect: for `check_spec`, before any weight is read.

  Raises:
    ValueError: a spec that does not fit, or weights that are not the record's.
  """
  folder = pathlib.Path(folder)
  record = files.read_json(folder / _RECORD)
  spec = _read_spec(record.get('spec'), folder / _RECORD)
  check_spec(spec, **(expect or {}))
  try:
    config = PiConfig(**record['config'])
    params = _unpack(files.read_arrays(folder / _WEIGHTS))
  except (KeyError, TypeError) as error:
    raise ValueError(
      f'{folder} must hold a VLA that experiments.train_vla wrote, with its '
      f'config and weights: {error!r}.'
    ) from None
  vla = make(
    params,
    config,
    action_mode=spec.action_mode,
    action_scale=spec.action_scale,
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
    tasks=known_tasks.read(record.get('tasks', ())),
  )
  if vla.spec != spec:
    raise ValueError(
      f'The weights must have the fingerprint {spec.fingerprint} of '
      f'{_RECORD}: {vla.spec.fingerprint}.'
    )
  return vla


def shipped_folder(task: Any = None) -> pathlib.Path:
  """Returns the folder of the shipped weights that know a `TaskSpec`.

  Of several, those that know the fewest tasks. Without a task, those of
  Ethernet.

  Raises:
    ValueError: none know it.
  """
  package = importlib.resources.files('rlt_jax.vlas.pi_small')
  assets = pathlib.Path(str(package)) / 'assets'
  if task is None:
    return assets / 'ethernet'
  known = {
    file.parent: known_tasks.read(files.read_json(file).get('tasks', ()))
    for file in sorted(assets.glob(f'*/{_RECORD}'))
  }
  for folder in sorted(known, key=lambda folder: len(known[folder])):
    try:
      known_tasks.find(known[folder], task)
      return folder
    except ValueError:
      continue
  every = {task.instruction: task for tasks in known.values() for task in tasks}
  known_tasks.find(list(every.values()), task)  # raises, with all that is known
  raise AssertionError


def open_vla(folder: str = '') -> PiVla:
  """Loads the shipped VLA, or the one in a folder; the --vla=pi_small value.

  Raises:
    ValueError: no such folder, or files that `load` refuses.
  """
  folder = folder or str(shipped_folder())
  if not (pathlib.Path(folder) / _RECORD).is_file():
    raise ValueError(
      f'A pi_small VLA must be a folder with {_RECORD}, written by '
      f'experiments.train_vla: {folder}.'
    )
  return load(folder)


def _read_spec(fields, path):
  names = {field.name for field in dataclasses.fields(VlaSpec)}
  if not isinstance(fields, dict):
    raise ValueError(f'{path} must hold a spec: {fields!r}.')
  fields = {'state': 'proprio'} | fields  # which older weights do not record
  if set(fields) != names:
    raise ValueError(
      f'The spec in {path} must have the fields {sorted(names)}: missing '
      f'{sorted(names - set(fields))}, unknown {sorted(set(fields) - names)}.'
    )
  return VlaSpec(**fields)


def _pack(params):
  flat = flax.traverse_util.flatten_dict(
    params | {'norm': params['norm']._asdict()}, sep='/'
  )
  return float16.pack(flat, 'norm/')


def _unpack(flat: Mapping[str, Array]) -> Params:
  params = flax.traverse_util.unflatten_dict(
    {name: jnp.asarray(x, jnp.float32) for name, x in flat.items()}, sep='/'
  )
  return params | {'norm': model.VlaNorm(**params['norm'])}


def _digest(packed, config, spec, tasks):
  sizes = dataclasses.asdict(spec)
  for name in (*_NOT_IN_FINGERPRINT, 'state'):  # the config has the state
    del sizes[name]
  numbers = [config.numbers(), sizes]
  if config.state == 'joints':  # units and statistics of each task count too
    numbers.append([dataclasses.asdict(task) for task in tasks])
  digest = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode())
  for name, x in packed.items():
    digest.update(f'{name}{x.shape}{x.dtype}'.encode())
    digest.update(np.ascontiguousarray(x).tobytes())
  return digest.hexdigest()
