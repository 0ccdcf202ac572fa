"""Our own .npz demonstrations as a recording, for inspection."""

from collections.abc import Iterator, Sequence
import pathlib

import numpy as np

from rlt_jax import demo_files
from rlt_jax.datasets.columns import ACTION_KEYS, STATE_KEYS
from rlt_jax.datasets.recording import RecordedEpisode, Recording
from rlt_jax.vlas.demo_source import open_with_joints

_IMAGES = 'images/'


class OwnRecording(Recording):
  """Frames that experiments.make_demos stored; they do not say how often.

  source: the demonstrations, with an empty prompt.
  """

  def __init__(self, path: str | pathlib.Path):
    """Reads the small columns of all files.

    Raises:
      ValueError: no such files, or damaged ones.
    """
    self.path, self.kind, self.fps = str(path), 'rlt_jax .npz', None
    cameras = _list_cameras(path)
    self.source = open_with_joints(
      path, cameras, lambda text: np.zeros(1, np.int32)
    )
    self.episodes = tuple(
      RecordedEpisode(number, info.frames, (info.instruction,))
      for number, info in enumerate(self.source.episodes)
    )
    names = self.source.facts.joint_names
    self.vectors = {STATE_KEYS[0]: names, ACTION_KEYS[0]: names}
    first = self.source.peek().frames
    self.cameras = {k: x.shape[1:3] for k, x in first.images.items()}

  def read_vectors(
    self, episode: int, keys: Sequence[str]
  ) -> dict[str, np.ndarray]:
    """Returns columns [T, A]; see `Recording.read_vectors`."""
    frames, facts = self.source.read(episode, images=False), self.source.facts
    pose = frames.proprio[:, : len(facts.joint_names)]
    # Both modes begin with the offset of the first command from the pose.
    command = pose + frames.chunk[:, 0] * np.float32(facts.action_scale)
    columns = {STATE_KEYS[0]: pose, ACTION_KEYS[0]: command}
    return {key: columns[key] for key in keys}

  def read_images(
    self, episode: int, key: str, rows: np.ndarray
  ) -> Iterator[np.ndarray]:
    """Yields pictures; see `Recording.read_images`."""
    yield from self.source.read_rows(episode, rows).images[key]


def _list_cameras(path: str | pathlib.Path) -> list[str]:
  with demo_files.open_shard(demo_files.find(path).shards[0]) as shard:
    return [
      name.removeprefix(_IMAGES)
      for name in shard.names
      if name.startswith(_IMAGES)
    ]
