"""Whether a dataset, through its mapping, fits a VLA and a robot's station."""

from collections.abc import Iterator
import dataclasses
from typing import Any

import numpy as np

from rlt_jax.datasets import mapped_source
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.inspect_motion import Finding
from rlt_jax.datasets.mapped_recording import MappedRecording
from rlt_jax.datasets.mapping import DatasetMapping
from rlt_jax.datasets.own_recording import OwnRecording
from rlt_jax.datasets.recording import Recording
from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.station import Station
from rlt_jax.vlas import demos as demos_lib

# Ratio of units of an action beyond which a VLA's chunks look nothing like the
# dataset's.
_UNIT_RATIO = 5.0
_FAR = 8.0  # deviations of the VLA's own proprioception


def fit_vla(
  recording: Recording, mapping: DatasetMapping | None, vla: Any
) -> Iterator[Finding]:
  """Yields what does not fit a VLA; nothing if all does.

  Args:
    recording: the dataset.
    mapping: of it; None for our own files.
    vla: a `vlas.vla.FrozenVla`.
  """
  spec = vla.spec
  try:
    if isinstance(recording, OwnRecording):
      source = recording.source
      scale = source.facts.action_scale
      if len(scale) == len(spec.action_scale):
        # Their unit is converted, or not read.
        spec = dataclasses.replace(spec, action_scale=scale)
      demos_lib.check_fit(source.peek(), spec, actions=True)
      _check_cameras(source.cameras, spec.cameras)
      for text in {episode.instruction for episode in source.episodes}:
        vla.tokenize(text)
      return
    source = mapped_source.MappedSource(
      recording, mapping, mapped_source.needs_of(spec), vla.tokenize
    )
  except ValueError as error:
    yield Finding(f'The VLA cannot use it: {error}')
    return
  for name, own, found in zip(
    spec.joint_names, spec.action_scale, source.measured_scale, strict=True
  ):
    ratio = found / own
    if not 1.0 / _UNIT_RATIO < ratio < _UNIT_RATIO:
      yield Finding(
        f'{name} moves {ratio:.2g} times as far within a chunk as what the VLA '
        f'was trained on ({found:.3g} against {own:.3g}).',
        is_fault=False,
      )
  yield from _far_proprio(source, vla)


def _check_cameras(found, needed) -> None:
  missing = [x for x in needed if x not in found]
  if missing:
    raise ValueError(
      f'cameras must have those of the VLA, {list(needed)}: {missing} are '
      f'missing; it has {list(found)}.'
    )


def _far_proprio(source: Any, vla: Any) -> Iterator[Finding]:
  """Yields joints that are far from all that the VLA was trained on."""
  stats = vla.proprio_stats()
  mean, std = np.asarray(stats.mean), np.asarray(stats.std)
  worst = np.zeros(len(mean))
  for episode in range(len(source.episodes)):
    proprio = source.read(episode, images=False).proprio
    worst = np.maximum(worst, np.abs((proprio - mean) / std).max(axis=0))
  names = source.facts.joint_names
  for i in np.flatnonzero(worst > _FAR):
    part = 'position' if i < len(names) else 'velocity'
    yield Finding(
      f'The {part} of {names[i % len(names)]} is {worst[i]:.0f} deviations '
      "from the VLA's mean: another zero, sign or unit, or another range of "
      'motion.',
      is_fault=False,
    )


def fit_station(
  mapped: MappedRecording, station: Station, arm: ArmSpec
) -> Iterator[Finding]:
  """Yields what does not fit a station's arm and cameras."""
  mapping = mapped.mapping
  if station.control_hz != mapping.control_hz:
    yield Finding(
      f'control_hz of the mapping must be that of the station, '
      f'{station.control_hz:g}: {mapping.control_hz:g}.'
    )
  cameras = [row.camera for row in mapping.cameras]
  missing = [x for x in cameras if x not in station.camera_names]
  if missing:
    yield Finding(
      f'Cameras of the mapping must be those of the station, '
      f'{list(station.camera_names)}: {missing} are not.'
      f'{mapping_lib.suggest(missing, station.camera_names)}'
    )
  try:
    mapping = mapping.ordered(arm.joint_names)
  except ValueError as error:
    text = str(error).replace("the VLA's", "the arm's")
    yield Finding(f'{arm.name}: {text}')
    return
  units = [row.robot_unit for row in mapping.joints]
  for name, unit, own in zip(
    arm.joint_names, units, arm.joint_units, strict=True
  ):
    if unit != own:
      yield Finding(
        f'{name} must be in {own} on {arm.name}: the mapping makes it {unit}.'
      )
  if list(arm.joint_units) == units:
    yield from _limits(mapped, arm)


def _limits(mapped: MappedRecording, arm: ArmSpec) -> Iterator[Finding]:
  """Yields joints whose recorded motion is beyond the arm's limits."""
  names = list(mapped.mapping.joint_names)
  order = [names.index(name) for name in arm.joint_names]
  A = len(order)
  low, high = np.full(A, np.inf), np.full(A, -np.inf)
  speed, reach = np.zeros(A), np.zeros(A)
  for number in range(len(mapped.kept)):
    motion = mapped.read(number)
    command, pose = motion.command[:, order], motion.position[:, order]
    low = np.minimum(low, command.min(axis=0))
    high = np.maximum(high, command.max(axis=0))
    reach = np.maximum(reach, np.abs(command - pose).max(axis=0))
    within = (motion.ends[1:] == motion.ends[:-1])[:, None]
    steps = np.abs(np.diff(command, axis=0)) * within * mapped.fps
    speed = np.maximum(speed, steps.max(axis=0, initial=0.0))
  for i, name in enumerate(arm.joint_names):
    unit = arm.joint_units[i]
    if low[i] < arm.joint_low[i] or high[i] > arm.joint_high[i]:
      yield Finding(
        f'Commands of {name} must be within {arm.joint_low[i]:.4g} and '
        f'{arm.joint_high[i]:.4g} {unit} on {arm.name}: they go from '
        f'{low[i]:.4g} to {high[i]:.4g}. Another zero or sign, or limits that '
        'are too narrow.'
      )
    for what, value, limit, per in (
      ('moves at', speed[i], arm.max_velocity[i], '/s'),
      ('is commanded away from its measured pose by', reach[i],
       arm.max_step[i], ''),
    ):  # fmt: skip
      if value > limit:
        yield Finding(
          f'{name} {what} up to {value:.3g} {unit}{per}, and {arm.name} allows '
          f'{limit:.3g}: the loop would slow it down.',
          is_fault=False,
        )
