"""Opens a policy that LeRobot saved, and refuses what LeRobot lets pass.

LeRobot loads weights that do not fit with a printed line and goes on: a π0.5
without its file runs with random weights. Everything is compared here.
"""

from collections.abc import Iterator, Mapping, Sequence
import hashlib
import json
import pathlib
from typing import Any, NamedTuple

from rlt_jax import files

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
PROCESSORS = ('policy_preprocessor.json', 'policy_postprocessor.json')
# Settings of config.json that change no number a query gives.
_OF_TRAINING = (
  'compile_mode', 'compile_model', 'device', 'gradient_checkpointing',
  'license', 'pretrained_path', 'pretrained_revision', 'private', 'push_to_hub',
  'repo_id', 'tags',
)  # fmt: skip
_TRAINING = ('optimizer_', 'scheduler_', 'freeze_', 'train_')  # prefixes
# Normalization -> the statistics that it divides by.
_STATISTICS = {
  'MEAN_STD': ('mean', 'std'),
  'MIN_MAX': ('min', 'max'),
  'QUANTILES': ('q01', 'q99'),
  'QUANTILE10': ('q10', 'q90'),
}
_NAMED = 5  # arrays that a message names; the rest are counted


class LoadedPolicy(NamedTuple):
  """A policy of LeRobot with its processors.

  kind: LeRobot's type, such as 'smolvla'. config: its `PreTrainedConfig`.
  cameras: keys of its pictures as a dataset names them, in the policy's order.
  state_dim, action_dim: entries of state and action.
  state_moments: mean and deviation [2, state_dim] of its training data, as
    recorded; None where the checkpoint has none.
  digest: of weights, statistics, tokenizer and settings.
  """

  kind: str
  policy: Any
  config: Any
  preprocess: Any
  postprocess: Any
  cameras: tuple[str, ...]
  state_dim: int
  action_dim: int
  state_moments: Any
  digest: str


def check_files(folder: str | pathlib.Path) -> dict[str, Any]:
  """Returns config.json of a checkpoint that can be served.

  Raises:
    ValueError: files that are missing, or settings that cannot be served.
  """
  folder = pathlib.Path(folder)
  if (folder / 'adapter_config.json').exists():
    raise ValueError(
      f'{folder} holds an adapter (PEFT, LoRA): merge it into the policy and '
      'save that with save_pretrained.'
    )
  nested = folder / 'pretrained_model'
  hint = f' Did you mean {nested}?' if nested.is_dir() else ''
  for name in (CONFIG, WEIGHTS, *PROCESSORS):
    if not (folder / name).is_file():
      raise ValueError(
        f'A checkpoint of LeRobot must hold {CONFIG}, {WEIGHTS} and '
        f'{", ".join(PROCESSORS)}: no {name} in {folder}.{hint}'
      )
  config = files.read_json(folder / CONFIG, ('type',))
  for name, rule, fits in (
    ('n_obs_steps', '1: one observation is sent a query', config.get(
      'n_obs_steps', 1) == 1),
    ('rtc_config', 'absent: chunks are joined by the robot loop',
     not config.get('rtc_config')),
    ('use_peft', 'false: merge the adapter first', not config.get('use_peft')),
    ('add_image_special_tokens', 'false: they would stand between the cameras',
     not config.get('add_image_special_tokens')),
  ):  # fmt: skip
    if not fits:
      raise ValueError(
        f'{name} of {folder / CONFIG} must be {rule}: {config[name]!r}.'
      )
  return config


def load(
  folder: str | pathlib.Path, *, device: str, tokenizer: str = ''
) -> LoadedPolicy:
  """Opens a policy and compares it with its files.

  Args:
    folder: as LeRobot's `save_pretrained` or its training left it.
    device: PyTorch's, such as 'cuda' or 'cpu'.
    tokenizer: folder in place of the tokenizer that the checkpoint names on
      the hub; empty takes that from the hub's cache.

  Raises:
    ValueError: what is missing or does not fit, by name.
  """
  plain = check_files(folder)
  from lerobot.configs.policies import PreTrainedConfig
  from lerobot.policies.factory import (
    get_policy_class,
    make_pre_post_processors,
  )

  folder = pathlib.Path(folder)
  try:
    config = PreTrainedConfig.from_pretrained(folder)
    config.device = device
    if hasattr(config, 'compile_model'):
      config.compile_model = False  # CUDA graphs would overwrite kept tokens
    policy = get_policy_class(config.type).from_pretrained(
      folder, config=config
    )
  except Exception as error:  # each of LeRobot's libraries has its own
    raise ValueError(
      f'{folder} must hold the settings and the whole weights of a '
      f'{plain["type"]}, saved by the release of LeRobot that serves it; what '
      'it names on the hub (its VLM or tokenizer) must lie in the cache, since '
      f'nothing is downloaded while serving: {type(error).__name__}: {error}'
    ) from error
  policy.to(device).eval()
  changed = {'device_processor': {'device': device}}
  if tokenizer:
    changed['tokenizer_processor'] = {'tokenizer_name': tokenizer}
  preprocess, postprocess = make_pre_post_processors(
    config,
    pretrained_path=str(folder),
    preprocessor_overrides=changed,
    postprocessor_overrides={'device_processor': {'device': 'cpu'}},
  )
  check_weights(policy, folder / WEIGHTS)
  sizes = _vector_sizes(config)
  for name, pipeline in (('pre', preprocess), ('post', postprocess)):
    check_statistics(pipeline.steps, f'{name}processor of {folder}', sizes)
  return LoadedPolicy(
    kind=config.type,
    policy=policy,
    config=config,
    preprocess=preprocess,
    postprocess=postprocess,
    cameras=_cameras(config, preprocess.steps),
    state_dim=sizes['observation.state'],
    action_dim=sizes['action'],
    state_moments=_state_moments(preprocess.steps),
    digest=_digest(folder, plain, preprocess.steps),
  )


def check_weights(policy: Any, file: pathlib.Path) -> None:
  """Raises a ValueError unless a policy holds what its file holds.

  Both ways: no array may be missing in the file, and none left over.
  """
  import safetensors
  from safetensors.torch import load_file
  import torch

  try:
    stored = load_file(file)
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{file} must be a whole safetensors file: {error}.'
    ) from (None)
  # Policies rename arrays of openpi's conversions by a function of theirs.
  rename = getattr(policy, '_fix_pytorch_state_dict_keys', None)
  own = policy.state_dict()
  if rename is not None:
    stored = rename(stored, policy.config)
    stored = {
      k if k.startswith('model.') else f'model.{k}': x
      for k, x in stored.items()
    }
  tied = {own[name].data_ptr() for name in stored if name in own}
  missing = [
    k for k in own if k not in stored and own[k].data_ptr() not in tied
  ]
  extra = [k for k in stored if k not in own]
  for what, names in (('missing', missing), ('left over', extra)):
    if names:
      raise ValueError(
        f'{file} must hold the arrays of this {type(policy).__name__} and no '
        f'others; {what}: {_name(names)}. It is of another policy, variant or '
        'release; save it again with the LeRobot that serves it.'
      )
  for name, x in stored.items():
    if not torch.isfinite(x).all():
      raise ValueError(f'Weights must be finite: {name} of {file} is not.')
    mine = own[name].detach().cpu()
    if mine.shape != x.shape or not torch.equal(x.to(mine.dtype), mine):
      raise ValueError(
        f'{file} must have been loaded whole: {name} is '
        f'{tuple(mine.shape)} in the policy with other numbers than the '
        f'{tuple(x.shape)} of the file.'
      )


def check_statistics(
  steps: Sequence[Any], where: str, sizes: Mapping[str, int]
) -> None:
  """Raises a ValueError for a normalization without its statistics.

  LeRobot passes such numbers on as they are.

  Args:
    steps: of a processor.
    where: it was read, for messages.
    sizes: entries of the vectors, by key.
  """
  found = False
  for step in steps:
    if not hasattr(step, 'norm_map') or not hasattr(step, 'features'):
      continue
    found = True
    for key, size in sizes.items():
      if key not in step.features:
        continue
      mode = step.norm_map.get(step.features[key].type)
      names = _STATISTICS.get(getattr(mode, 'value', 'IDENTITY'), ())
      stats = (step.stats or {}).get(key, {})
      for name in names:
        if name not in stats:
          raise ValueError(
            f'The {where} must have the statistics {list(names)} of {key}: no '
            f'{name}. Save the policy with those of its training data.'
          )
        _check_vector(stats[name], size, f'{name} of {key} in the {where}')
  if not found:
    raise ValueError(
      f'The {where} must have a step that normalizes: it has '
      f'{[type(step).__name__ for step in steps]}.'
    )


def _check_vector(value: Any, size: int, where: str) -> None:
  import numpy as np

  value = np.asarray(value, np.float64).ravel()
  if value.size != size or not np.isfinite(value).all():
    raise ValueError(f'{where} must be {size} finite numbers: {value}.')


def _vector_sizes(config: Any) -> dict[str, int]:
  """Returns the entries of state and action; refuses other inputs."""
  visual = set(config.image_features)
  vectors = {k: x for k, x in config.input_features.items() if k not in visual}
  outputs = dict(config.output_features)
  for what, found, key in (
    ('inputs', vectors, 'observation.state'),
    ('outputs', outputs, 'action'),
  ):
    if list(found) != [key] or len(found[key].shape) != 1:
      raise ValueError(
        f"The policy's {what}, pictures aside, must be {key!r} alone, a "
        f'vector: { ({k: tuple(x.shape) for k, x in found.items()}) }.'
      )
  return {
    'observation.state': vectors['observation.state'].shape[0],
    'action': outputs['action'].shape[0],
  }


def _cameras(config: Any, steps: Sequence[Any]) -> tuple[str, ...]:
  """Returns the keys of the pictures as they come in, in the policy's order."""
  names = {}
  for step in steps:
    for old, new in (getattr(step, 'rename_map', None) or {}).items():
      names[new] = old
  keys = [key for key in config.image_features if '.empty_camera_' not in key]
  if not keys:
    raise ValueError('The policy must read pictures: it has no camera.')
  return tuple(names.get(key, key) for key in keys)


def _state_moments(steps: Sequence[Any]) -> Any:
  import numpy as np

  for step in steps:
    stats = (getattr(step, 'stats', None) or {}).get('observation.state', {})
    if 'mean' in stats and 'std' in stats:
      return np.stack([np.asarray(stats[x]).ravel() for x in ('mean', 'std')])
  return None


def _digest(
  folder: pathlib.Path, config: Mapping[str, Any], steps: Sequence[Any]
) -> str:
  settings = {
    k: x
    for k, x in config.items()
    if k not in _OF_TRAINING and not k.startswith(_TRAINING)
  }
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for name in _content(folder):
    digest.update(name.name.encode())
    with name.open('rb') as file:
      while block := file.read(1 << 24):
        digest.update(block)
  for step in steps:
    if tokenizer := getattr(step, 'input_tokenizer', None):
      vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True)
      digest.update(vocabulary.encode())
  return digest.hexdigest()


def _content(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the weights and the statistics of a checkpoint."""
  yield folder / WEIGHTS
  for name in PROCESSORS:
    stem = name.removesuffix('.json')
    yield from sorted(folder.glob(f'{stem}*.safetensors'))


def _name(names: Sequence[str]) -> str:
  more = len(names) - _NAMED
  text = ', '.join(sorted(names)[:_NAMED])
  return f'{text} and {more} more' if more > 0 else text
