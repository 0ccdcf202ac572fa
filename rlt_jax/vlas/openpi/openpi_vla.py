"""π0 and π0.5 as a frozen VLA: checkpoint, statistics, prompt, robot."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Array, Observation, Params
from rlt_jax.vlas.openpi import (
  checkpoint as checkpoint_lib,
)
from rlt_jax.vlas.openpi import (
  config as config_lib,
)
from rlt_jax.vlas.openpi import (
  images,
  model,
  robot_map,
)
from rlt_jax.vlas.openpi import (
  prompt as prompt_lib,
)
from rlt_jax.vlas.openpi import (
  statistics as statistics_lib,
)
from rlt_jax.vlas.openpi.config import OpenpiConfig
from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput, VlaSpec

# A joint that rests in the training data has next to no deviation; dividing by
# it would turn sensor noise into large numbers.
_FLOOR = {'rad': 1e-3, 'm': 2e-4}
_USAGE = 'openpi:CONFIGURATION:CHECKPOINT'
_UNIT_STEPS = 10  # C of the paper's chunks, over which a unit is measured


class _Norm(NamedTuple):
  """What normalizes and completes a query's numbers.

  state, actions: of n entries, in the checkpoint's units.
  padding: [H, action_dim - n] initial noise of the entries without a joint.
    It is drawn once: any draw is as good as another.
  """

  state: statistics_lib.Range
  actions: statistics_lib.Range
  padding: Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OpenpiVla(FrozenVla):
  """A π0 or π0.5 of openpi on one robot.

  params: 'model' (openpi's tree), 'norm' and 'state_words' (None without).
  """

  reads_joints: ClassVar[bool] = True
  spec: VlaSpec
  config: OpenpiConfig
  params: Params
  prompter: prompt_lib.Prompter
  stats: ProprioStats

  def apply_with_noise(
    self, params: Params, observation: Observation, noise: Array
  ) -> VlaOutput:
    """Runs the tower and the prefix once, then the flow; see `FrozenVla`."""
    config, norm = self.config, params['norm']
    space = robot_map.make(config.joints, config.joint_order)
    pose = observation.proprio[:, : self.spec.action_dim].astype(jnp.float32)
    state = norm.state.normalize(space.state(pose))
    inputs = self.read(params, observation, state)
    prefix = model.run_prefix(params['model'], inputs, config.model)
    start = noise[..., space.index].astype(jnp.float32)
    rest = jnp.broadcast_to(norm.padding, (len(noise), *norm.padding.shape))
    chunk = model.sample(
      params['model'],
      prefix,
      inputs.state,
      jnp.concatenate([start, rest], axis=-1),
      config=config.model,
      steps=config.flow_steps,
    )
    actions = norm.actions.restore(chunk[..., : len(config.joints)])
    commands = space.commands(actions, pose)
    reference = (commands - pose[:, None]) / np.float32(self.spec.action_scale)
    tokens = prefix.tokens if config.token_layer == 'final' else prefix.entering
    return VlaOutput(tokens, prefix.mask, prefix.image_mask, reference)

  def read(
    self, params: Params, observation: Observation, state: Array
  ) -> model.ModelInputs:
    """Returns what the model reads of an observation.

    Args:
      params: of this VLA.
      observation: batched.
      state: [B, n] normalized.
    """
    config = self.config
    pictures = jnp.stack(
      [observation.images[name] for name in config.cameras.values()], axis=1
    )
    side = config.model.tower.image_size
    prompt, words = observation.prompt, params['state_words']
    if words is not None:
      prompt = words.append(prompt, state)
    entries = config.model.action_dim - state.shape[1]
    return model.ModelInputs(
      images=images.resize_with_pad(pictures, side),
      image_mask=jnp.ones(pictures.shape[:2], bool),
      prompt=prompt,
      state=jnp.pad(state, ((0, 0), (0, entries))),
    )

  def tokenize(self, text: str) -> np.ndarray:
    """Returns the instruction as int32 [L]; see `Prompter.tokenize`."""
    return self.prompter.tokenize(text)

  def proprio_stats(self) -> ProprioStats:
    """Returns mean and deviation [P] of positions, then of velocities."""
    return self.stats


def open_vla(text: str = '') -> OpenpiVla:
  """Opens a checkpoint; the --vla=openpi:CONFIGURATION:CHECKPOINT value.

  Args:
    text: a configuration's name or JSON file, a colon, and the folder of a
      checkpoint.

  Raises:
    ValueError: what is missing or does not fit, by name.
  """
  name, colon, folder = text.partition(':')
  if not (name and colon and folder):
    raise ValueError(
      f'An openpi VLA must be {_USAGE}, a configuration of '
      f'{config_lib.names()} or a .json file, and the folder that holds '
      f'params and assets: {"openpi" + (text and ":" + text)!r}.'
    )
  return load(config_lib.load(name), folder)


def load(config: OpenpiConfig, checkpoint: str | pathlib.Path) -> OpenpiVla:
  """Reads a checkpoint for a configuration.

  All that is small is checked before the weights are read.

  Raises:
    ValueError: what is missing or does not fit, by name.
  """
  checkpoint = pathlib.Path(checkpoint).expanduser()
  folder = checkpoint_lib.find(checkpoint)
  found = checkpoint_lib.list_arrays(folder)
  checkpoint_lib.check(found, config.model, folder)
  stats = statistics_lib.read(
    statistics_lib.find(checkpoint, config.asset_id),
    len(config.joints),
    quantiles=config.model.is_pi05,
  )
  file = prompt_lib.find_tokenizer(config.tokenizer, checkpoint)
  encode, content = prompt_lib.open_tokenizer(file, config.model.vocabulary)
  prompter = make_prompter(config, encode)
  weights = checkpoint_lib.read(checkpoint, config.model)
  return make(
    config, weights, stats, prompter, hashlib.sha256(content).digest()
  )


def make_prompter(config: OpenpiConfig, encode: Any) -> prompt_lib.Prompter:
  """Returns the prompter of a configuration; see `Prompter`."""
  entries = len(config.joints) if config.state_in_prompt else 0
  return prompt_lib.Prompter(encode, config.prompt_length, entries)


def make(
  config: OpenpiConfig,
  weights: checkpoint_lib.Weights,
  statistics: statistics_lib.Statistics,
  prompter: prompt_lib.Prompter,
  tokenizer_digest: bytes,
) -> OpenpiVla:
  """Bundles the parts of a VLA, as `load` reads them."""
  quantiles = config.model.is_pi05
  ranges = [
    x.by_quantiles() if quantiles else x.by_deviation() for x in statistics
  ]
  ranges = [
    statistics_lib.Range(*(np.asarray(x, np.float32) for x in r))
    for r in ranges
  ]
  padding = jax.random.normal(
    jax.random.key(0),
    (config.horizon, config.model.action_dim - len(config.joints)),
  )
  params = {
    'model': weights.params,
    'norm': _Norm(*ranges, padding),
    'state_words': prompter.state_words,
  }
  params = jax.tree.map(jnp.asarray, params)
  spec, stats = describe(config, statistics, prompter)
  digest = hashlib.sha256(tokenizer_digest)
  numbers = dataclasses.asdict(config) | dataclasses.asdict(spec)
  del numbers['tokenizer']  # a path; the file's content counts
  digest.update(json.dumps(numbers, sort_keys=True).encode())
  digest.update(weights.digest.encode())
  for x in ranges:
    digest.update(np.stack(x).tobytes())
  # They normalize what the actor and the critic read.
  digest.update(np.stack([stats.mean, stats.std]).tobytes())
  return OpenpiVla(
    spec=dataclasses.replace(spec, fingerprint=digest.hexdigest()),
    config=config,
    params=params,
    prompter=prompter,
    stats=stats,
  )


def describe(
  config: OpenpiConfig,
  statistics: statistics_lib.Statistics,
  prompter: prompt_lib.Prompter,
) -> tuple[VlaSpec, ProprioStats]:
  """Returns the spec, without a fingerprint, and proprioception's statistics.

  The statistics tell how far a joint goes within the H steps of a chunk (a
  gripper, from its mean). Its unit, the deviation within the first 10 steps,
  and its speed are those of a motion of that size at constant speed.
  """
  order = config.joint_order
  mean, std = np.zeros(len(order)), np.ones(len(order))
  unit, speed = np.ones(len(order)), np.ones(len(order))
  duration = config.horizon / config.control_hz
  for i, joint in enumerate(config.joints):
    j, floor = order.index(joint.name), _FLOOR[joint.unit]
    moments, actions = statistics.state, statistics.actions
    spread = float(actions.std[i])
    if joint.delta:
      spread = float(np.hypot(actions.mean[i], spread))
    gain, action_gain, mean[j] = linearize(joint, float(moments.mean[i]))
    std[j] = max(float(moments.std[i]) * gain, floor)
    spread *= action_gain
    unit[j] = max(spread * min(1.0, _UNIT_STEPS / config.horizon), floor)
    speed[j] = max(np.sqrt(3.0) * spread / duration, floor)
  if config.action_scale:
    unit = np.array(config.action_scale)
  cameras = tuple(config.cameras.values())
  slots = 0
  if prompter.state_words is not None:
    slots = prompter.state_words.slots(len(config.joints))
  spec = VlaSpec(
    cameras=cameras,
    image_size=config.image_size,
    proprio_dim=2 * len(order),
    prompt_length=prompter.length,
    num_tokens=len(cameras) * config.model.tower.tokens
    + prompter.length
    + slots,
    token_dim=config.model.prefix.width,
    horizon=config.horizon,
    action_dim=len(order),
    joint_names=tuple(order),
    control_hz=float(config.control_hz),
    action_mode='offset',
    action_scale=tuple(float(x) for x in unit),
    fingerprint='',
  )
  stats = ProprioStats(
    np.concatenate([mean, np.zeros(len(order))]).astype(np.float32),
    np.concatenate([std, speed]).astype(np.float32),
  )
  return spec, stats


def linearize(joint, value):
  """Returns the robot's units per unit of state and action, and a state."""
  gain, action_gain = 1.0, 1.0
  if joint.gripper == 'aloha':
    travel = robot_map.gripper_travel()
    gain, action_gain = travel.width, travel.width / travel.angle
    value = travel.low + value * gain
  gains = gain / abs(joint.scale), action_gain / abs(joint.scale)
  return *gains, (value - joint.offset) / joint.scale
