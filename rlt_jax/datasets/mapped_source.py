"""A mapped recording as demonstrations for a VLA."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.datasets import chunks, mapped_recording
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.mapping import DatasetMapping
from rlt_jax.datasets.recording import Recording
from rlt_jax.vlas.demo_source import ActionFacts, DemoSource, EpisodeInfo
from rlt_jax.vlas.demos import DemoBatch


class Needs(NamedTuple):
  """What a VLA reads and how its actions are; None where it is yet to learn.

  The fields are those of `vlas.vla.VlaSpec`, and of a remote one. A VLA that is
  trained from scratch takes the last four from its demonstrations.
  """

  cameras: tuple[str, ...]
  image_size: int
  proprio_dim: int
  horizon: int
  action_dim: int
  joint_names: tuple[str, ...] | None = None
  control_hz: float | None = None
  action_mode: str | None = None
  action_scale: tuple[float, ...] | None = None
  image_shapes: tuple[tuple[int, int], ...] = ()

  def image_shape(self, camera: str) -> tuple[int, int]:
    """Returns height and width of a camera's pictures."""
    if not self.image_shapes:
      return self.image_size, self.image_size
    return self.image_shapes[self.cameras.index(camera)]


def needs_of(spec: Any) -> Needs:
  """Returns the needs of a VLA.

  Args:
    spec: a `VlaSpec`, or the config of a VLA from scratch, which lacks the
      fields that `Needs` may leave out.
  """
  return Needs(**{
    name: getattr(spec, name) for name in Needs._fields if hasattr(spec, name)
  })  # fmt: skip


class MappedSource(DemoSource):
  """Demonstrations from a recording in another format.

  Every `frame_stride`-th row is a frame. `remaining_motion` is None unless the
  mapping names its column.

  measured_scale: [A] rad or m of a unit by these demonstrations, which a VLA
    with a unit of its own does not take.
  """

  def __init__(
    self,
    recording: Recording,
    mapping: DatasetMapping,
    needs: Needs,
    tokenize: Callable[[str], np.ndarray],
    say: Callable[[str], None] = lambda text: None,
  ):
    """Reads all numbers once, to check them and to measure the action's unit.

    Of videos it decodes two pictures each.

    Args:
      recording: the episodes.
      mapping: of its numbers and cameras.
      needs: of the VLA.
      tokenize: of the VLA.
      say: called with lines of text, the mapping as it was understood.

    Raises:
      ValueError: what does not fit, by name; damaged files.
    """
    if needs.joint_names is not None:
      mapping = mapping.ordered(needs.joint_names)
    self._mapped = mapped_recording.make(recording, mapping)
    self._needs = needs
    _check_needs(mapping, needs)
    self._prompts: Mapping[str, np.ndarray] = {}
    self.cameras = tuple(needs.cameras)
    self.episodes = self._list_episodes(tokenize)
    mode = needs.action_mode or chunks.MODES[0]
    survey = self._mapped.survey(mode)
    mapped_recording.check(self._mapped, survey, say)
    self._mapped.check_videos(self.cameras)
    self.measured_scale = survey.action_scale
    self.facts = ActionFacts(
      action_mode=mode,
      action_scale=tuple(needs.action_scale or survey.action_scale),
      joint_names=mapping.joint_names,
      control_hz=mapping.control_hz,
    )

  def _list_episodes(self, tokenize) -> tuple[EpisodeInfo, ...]:
    """Returns the episodes, and keeps the tokens of their texts."""
    mapped, stride = self._mapped, self._mapped.mapping.frame_stride
    episodes = []
    for number in range(len(mapped.kept)):
      frames = -(-mapped.episode(number).length // stride)
      episodes.append(EpisodeInfo(frames, mapped.instruction(number)))
    texts = dict.fromkeys(episode.instruction for episode in episodes)
    self._prompts = {text: tokenize(text) for text in texts}
    return tuple(episodes)

  def read(self, episode: int, *, images: bool = True) -> DemoBatch:
    """Returns the frames of an episode; see `DemoSource.read`."""
    rows = np.arange(self.episodes[episode].frames)
    return self.read_rows(episode, rows, images=images)

  def read_rows(
    self, episode: int, rows: np.ndarray, *, images: bool = True
  ) -> DemoBatch:
    """Returns frames of an episode; see `DemoSource.read_rows`."""
    mapped, needs = self._mapped, self._needs
    motion = mapped.read(episode)
    places = np.asarray(rows) * mapped.mapping.frame_stride
    commands, valid = chunks.cut(
      motion.command,
      motion.ends,
      places,
      steps=needs.horizon,
      rows_per_step=mapped.fps / mapped.mapping.control_hz,
    )
    pose = motion.position[places]
    steps = chunks.to_steps(commands, pose, self.facts.action_mode)
    proprio = [pose, motion.velocity[places]]
    if needs.proprio_dim == needs.action_dim:
      proprio = proprio[:1]
    remaining = motion.remaining_motion
    prompt = self._prompts[self.episodes[episode].instruction]
    scale = np.array(self.facts.action_scale, np.float32)
    return DemoBatch(
      images={
        camera: self._pictures(episode, camera, places)
        for camera in (self.cameras if images else ())
      },
      proprio=np.concatenate(proprio, axis=1, dtype=np.float32),
      prompt=np.tile(prompt, (len(places), 1)),
      chunk=(steps / scale).astype(np.float32),
      chunk_valid=valid,
      remaining_motion=None if remaining is None else remaining[places],
      episode=np.full(len(places), episode, np.int32),
    )

  def _pictures(self, episode: int, camera: str, places: np.ndarray):
    """Returns pictures uint8 [B, height, width, 3]; reads a video once."""
    rows, inverse = np.unique(places, return_inverse=True)
    size = self._needs.image_shape(camera)
    stack = np.empty((len(rows), *size, 3), np.uint8)
    found = self._mapped.read_images(episode, camera, rows, size)
    for i, picture in enumerate(found):
      stack[i] = picture
    if len(rows) == len(places) and (inverse == np.arange(len(rows))).all():
      return stack
    return stack[inverse]


def _check_needs(mapping: DatasetMapping, needs: Needs) -> None:
  """Raises a ValueError unless the mapping gives what the VLA reads."""
  cameras = [row.camera for row in mapping.cameras]
  missing = [x for x in needs.cameras if x not in cameras]
  if missing:
    raise ValueError(
      f'cameras of the mapping must have those of the VLA, '
      f'{list(needs.cameras)}: {missing} are missing.'
      f'{mapping_lib.suggest(missing, cameras)}'
    )
  A = len(mapping.joints)
  if needs.action_dim != A:
    raise ValueError(
      f'joints of the mapping must be as many as the VLA has, '
      f'{needs.action_dim}: {A}.'
    )
  if needs.proprio_dim not in (A, 2 * A):
    raise ValueError(
      f'The VLA must read positions, or positions and velocities, {A} or '
      f'{2 * A} numbers: it reads {needs.proprio_dim}.'
    )
  hz = needs.control_hz
  if hz is not None and abs(hz - mapping.control_hz) > 1e-6 * hz:
    raise ValueError(
      f'control_hz of the mapping must be that of the VLA, {hz:g}: '
      f'{mapping.control_hz:g}. Write {hz:g}, and "resample": "linear" if the '
      'dataset has another rate.'
    )
