"""What a checkpoint does not say: robot, cameras, actions, prompt, horizon.

A configuration is a small JSON file; those in `configs` are opened by name.
"""

from collections.abc import Mapping
import dataclasses
import difflib
import importlib.resources
import json
import math
import pathlib
from typing import Any

from rlt_jax.vlas.openpi.model_config import (
  DTYPES,
  ExpertConfig,
  FAMILIES,
  ModelConfig,
  TowerConfig,
)

# openpi's camera slots, in the order of their tokens.
SLOTS = ('base_0_rgb', 'left_wrist_0_rgb', 'right_wrist_0_rgb')
TOKEN_LAYERS = ('final', 'last_input')
GRIPPERS = ('linear', 'aloha')
ACTIONS = 'joint_position'
# openpi's own configurations that cannot work here, by a part of their name.
_OTHER_ACTIONS = {
  'droid': 'joint velocities',
  'libero': 'movements of the end effector',
  'fast': 'tokens of the FAST model, which has no flow',
}
_PROMPT_LENGTH = {'pi0': 48, 'pi05': 200}


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointConfig:
  """A joint of the robot as an entry of the checkpoint's state and actions.

  name: in the robot's specification.
  unit: 'rad' or 'm', of the robot's value.
  delta: whether the checkpoint's actions count from the state at the chunk's
    start, as openpi's delta actions do; its grippers are absolute.
  scale, offset: the checkpoint's value is scale * robot's value + offset.
  gripper: 'aloha' maps the fingers' position in m, after scale and offset, to
    the angle that openpi's own ALOHA models read and write.
  """

  name: str
  unit: str = 'rad'
  delta: bool = True
  scale: float = 1.0
  offset: float = 0.0
  gripper: str = 'linear'

  def __post_init__(self):
    if self.unit not in ('rad', 'm'):
      raise ValueError(
        f"The unit of joint {self.name!r} must be 'rad' or 'm': {self.unit!r}."
      )
    if self.gripper not in GRIPPERS or (self.gripper == 'aloha' and self.delta):
      raise ValueError(
        f'gripper of joint {self.name!r} must be one of {GRIPPERS}, and an '
        f"'aloha' one has absolute actions, delta false: {self.gripper!r}, "
        f'{self.delta}.'
      )
    if not (math.isfinite(self.scale) and math.isfinite(self.offset)):
      raise ValueError(f'Joint {self.name!r} must have finite numbers: {self}.')
    if self.scale == 0.0:
      raise ValueError(f'scale of joint {self.name!r} must not be 0.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenpiConfig:
  """How a robot uses a checkpoint of openpi.

  model: the sizes; the published ones, unless the JSON says otherwise.
  asset_id: folder of the statistics, below the checkpoint's assets.
  actions: what the checkpoint's actions are; only joint positions fit.
  cameras: openpi's slot -> the robot's camera. A slot that is left out costs
    nothing and counts as a missing camera.
  image_size: S of the robot's square pictures, resized to the model's.
  joints: in the order of the checkpoint's state and actions.
  resting_joints: of the robot, which the checkpoint does not move.
  joint_order: [A] of the robot; empty takes joints, then resting_joints.
  control_hz: rate of the steps of a chunk, 1/s, as in the training data.
  horizon: H, steps of a chunk, as in the checkpoint's training. No array of
    the checkpoint has this size.
  action_scale: [A] rad or m of one unit of the reference, in the robot's
    order, as demonstrations measure it; empty takes it from the statistics.
  prompt_length: tokens of the whole prompt. A smaller one costs less.
  state_in_prompt: whether the state is part of it; π0.5's discrete state.
  flow_steps: Euler steps of a chunk.
  token_layer: which embeddings the RL token reads: 'final', after the last
    block, or 'last_input', which enters it and which the flow has trained.
  tokenizer: path of PaliGemma's; empty looks for it, see the documentation.
  """

  model: ModelConfig
  asset_id: str
  actions: str
  cameras: dict[str, str]
  image_size: int
  joints: tuple[JointConfig, ...]
  control_hz: float
  horizon: int
  resting_joints: tuple[str, ...] = ()
  joint_order: tuple[str, ...] = ()
  action_scale: tuple[float, ...] = ()
  prompt_length: int = 0
  state_in_prompt: bool | None = None
  flow_steps: int = 10
  token_layer: str = 'final'
  tokenizer: str = ''

  def __post_init__(self):
    family = self.model.family
    defaults = {
      'prompt_length': self.prompt_length or _PROMPT_LENGTH[family],
      'joint_order': self.joint_order or self._all_joints(),
    }
    if self.state_in_prompt is None:
      defaults['state_in_prompt'] = self.model.is_pi05
    for name, value in defaults.items():
      object.__setattr__(self, name, value)
    check_actions(self.actions)
    if self.state_in_prompt and not self.model.is_pi05:
      raise ValueError(
        'state_in_prompt must be false for pi0, whose state is a token.'
      )
    if self.token_layer not in TOKEN_LAYERS:
      raise ValueError(
        f'token_layer must be one of {TOKEN_LAYERS}: {self.token_layer!r}.'
      )
    for name in (
      'image_size',
      'horizon',
      'flow_steps',
      'prompt_length',
      'control_hz',
    ):
      value = getattr(self, name)
      if not (math.isfinite(value) and value > 0):
        raise ValueError(f'{name} must be positive: {value}.')
    asset = pathlib.PurePath(self.asset_id)
    if '..' in asset.parts or asset.is_absolute() or not self.asset_id:
      raise ValueError(
        f'asset_id must be a folder below assets: {self.asset_id!r}.'
      )
    self._check_cameras()
    self._check_joints()

  def _all_joints(self):
    return (*(joint.name for joint in self.joints), *self.resting_joints)

  def _check_cameras(self):
    if not isinstance(self.cameras, Mapping):
      raise ValueError(
        f'cameras must map slots of {SLOTS} to cameras of the robot: '
        f'{self.cameras!r}.'
      )
    unknown = sorted(set(self.cameras) - set(SLOTS))
    names = list(self.cameras.values())
    if unknown or not names or len(set(names)) != len(names):
      raise ValueError(
        f'cameras must map slots of {SLOTS} to distinct cameras of the robot: '
        f'{self.cameras}.'
      )
    ordered = {
      slot: self.cameras[slot] for slot in SLOTS if slot in self.cameras
    }
    object.__setattr__(self, 'cameras', ordered)

  def _check_joints(self):
    names = self._all_joints()
    if not self.joints or len(set(names)) != len(names):
      raise ValueError(f'joints must be distinct names, at least one: {names}.')
    if len(self.joints) > self.model.action_dim:
      raise ValueError(
        f'The model has {self.model.action_dim} entries; joints must not be '
        f'more: {len(self.joints)}.'
      )
    if sorted(self.joint_order) != sorted(names):
      missing = sorted(set(self.joint_order) - set(names))
      extra = sorted(set(names) - set(self.joint_order))
      raise ValueError(
        'joint_order must have the names of joints and resting_joints, each '
        f'once: {missing} are in none of the two, {extra} not in joint_order.'
      )
    scale = self.action_scale
    absolute = [x.name for x in self.joints if not x.delta and x.unit == 'rad']
    if absolute and not scale:
      raise ValueError(
        'action_scale must be given where the actions of joints are absolute, '
        'since their statistics do not tell how far a chunk goes: '
        f'{absolute}. Take the action_scale of demonstrations.'
      )
    if scale and (
      len(scale) != len(names)
      or not all(math.isfinite(x) and x > 0.0 for x in scale)
    ):
      raise ValueError(
        f'action_scale must be empty or {len(names)} positive numbers: {scale}.'
      )


def check_actions(actions: str) -> None:
  """Raises a ValueError unless the actions are joint positions."""
  if actions != ACTIONS:
    raise ValueError(
      f'actions must be {ACTIONS!r}, targets of the joints: {actions!r}. RLT '
      'holds actor and VLA in one space of joint positions. Fine-tune the '
      'checkpoint on joint positions, with or without delta actions.'
    )


def names() -> list[str]:
  """Returns the configurations that are shipped."""
  folder = importlib.resources.files('rlt_jax.vlas.openpi') / 'configs'
  return sorted(
    file.name.removesuffix('.json')
    for file in folder.iterdir()
    if file.name.endswith('.json')
  )


def load(name: str) -> OpenpiConfig:
  """Reads a configuration by name, or a JSON file by its path.

  Raises:
    ValueError: no such configuration, one whose actions do not fit, or a file
      with a field that is unknown, missing or wrong.
  """
  return parse(read_text(name), name)


def read_text(name: str) -> str:
  """Returns the JSON of a configuration, by name or by its path.

  Raises:
    ValueError: no such configuration, or one whose actions do not fit.
  """
  if name.endswith('.json'):
    path = pathlib.Path(name)
    if not path.is_file():
      raise ValueError(f'The configuration must be a file: {name}.')
    return path.read_text('utf-8')
  if name in names():
    folder = importlib.resources.files('rlt_jax.vlas.openpi') / 'configs'
    return (folder / f'{name}.json').read_text('utf-8')
  for part, kind in _OTHER_ACTIONS.items():
    if part in name.lower():
      raise ValueError(
        f'A configuration must have joint positions as actions; those of '
        f'{name!r} are {kind}. Fine-tune the checkpoint on joint positions.'
      )
  near = difflib.get_close_matches(name, names(), n=1)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  raise ValueError(
    f'A configuration must be one of {names()} or the path of a .json file: '
    f'{name!r}.{hint}'
  )


def parse(text: str, where: str) -> OpenpiConfig:
  """Returns the configuration that a JSON text holds.

  Args:
    text: JSON with the fields of `OpenpiConfig`, and in place of model:
      'family', and if they differ from the published ones 'dtype' and 'sizes'
      with any of 'tower', 'prefix', 'expert', 'vocabulary', 'action_dim'.
    where: for messages.

  Raises:
    ValueError: an unknown, missing or wrong field.
  """
  try:
    table = json.loads(text)
  except ValueError as error:
    raise ValueError(f'{where} must be JSON: {error}.') from None
  table = _check_fields(
    table,
    OpenpiConfig,
    where,
    more=('family', 'dtype', 'sizes'),
    less=('model',),
  )
  try:
    family = table.pop('family', None)
    if family not in FAMILIES:
      raise ValueError(f'family must be one of {FAMILIES}: {family!r}.')
    check_actions(table['actions'])
    table['model'] = _model(
      family, table.pop('dtype', DTYPES[0]), table.pop('sizes', {}), where
    )
    joints = table['joints']
    if not isinstance(joints, list):
      raise ValueError(f'joints must be a list: {joints!r}.')
    table['joints'] = tuple(_joint(joint, where) for joint in joints)
    for name in ('resting_joints', 'joint_order', 'action_scale'):
      if name in table:
        table[name] = tuple(table[name])
    return OpenpiConfig(**table)
  except (ValueError, TypeError) as error:
    raise ValueError(f'{where}: {error}') from None


def _joint(table, where):
  return JointConfig(**_check_fields(table, JointConfig, f'{where}, a joint'))


def _model(family, dtype, sizes, where):
  parts = {'tower': TowerConfig, 'prefix': ExpertConfig, 'expert': ExpertConfig}
  sizes = _check_fields(
    sizes, ModelConfig, f'{where}, sizes', less=('family', 'dtype')
  )
  published = ModelConfig()
  for name, cls in parts.items():
    if name in sizes:
      fields = _check_fields(sizes[name], cls, f'{where}, {name}')
      sizes[name] = dataclasses.replace(getattr(published, name), **fields)
  return ModelConfig(family=family, dtype=dtype, **sizes)


def _check_fields(table: Any, cls: type, where: str, more=(), less=()):
  """Returns a copy; raises unless it has the fields of a dataclass."""
  fields = {f.name: f for f in dataclasses.fields(cls) if f.name not in less}
  known = [*more, *fields]
  if not isinstance(table, dict):
    raise ValueError(f'{where} must be a table with {known}: {table!r}.')
  required = {
    name for name, f in fields.items() if f.default is dataclasses.MISSING
  }
  if cls is OpenpiConfig:
    required.add('family')
  if missing := sorted(required - set(table)):
    raise ValueError(f'{where} must have the fields {missing}.')
  for name, value in table.items():
    if name not in known:
      near = difflib.get_close_matches(name, known, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise ValueError(f'{where} has no field {name!r}.{hint} It has {known}.')
    _check_type(name, value, fields.get(name), where)
  return dict(table)


def _check_type(name, value, field, where):
  """Raises a ValueError unless a JSON value is of a field's plain type."""
  expected = field.type if field is not None else None
  if expected not in (bool, int, float, str):
    return
  fits = isinstance(value, expected) and not (
    isinstance(value, bool) and expected is not bool
  )
  if expected is float and isinstance(value, int) and value is not True:
    fits = True
  if not fits:
    raise ValueError(
      f'{where}: {name} must be of type {expected.__name__}: {value!r}.'
    )
