"""A run of a robot, journal and pictures, as a LeRobot dataset.

A row is a recorded step with pictures, one in every `replay_stride`; its action
is the command of that step. What follows without a pause is an episode of the
dataset: a hold, or pictures that are missing, ends one and begins another.
"""

from collections.abc import Callable, Collection, Iterator
import contextlib
import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

from rlt_jax.datasets.lerobot import episodes as episodes_lib
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.writer import Writer
from rlt_jax.lock import LockedError
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.recording import episodes, pictures
from rlt_jax.robot.recording.episodes import Episode, Recording
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.pictures import Observation, PictureFile
from rlt_jax.types import Source

JOURNAL, PICTURES = 'journal', 'pictures'
# What the operator wanted nobody to learn from is left out.
OUTCOMES = tuple(x.value for x in EpisodeOutcome if x.row_end is not None)


class Part(NamedTuple):
  """Recorded steps in a row, all with pictures.

  index: of the recording in its episode. first, last: steps in it.
  is_end: the episode ended there.
  """

  episode: Episode
  index: int
  first: int
  last: int
  is_end: bool

  @property
  def fields(self) -> dict[str, str | int]:
    """Where it is from, for the dataset's list of episodes."""
    return {
      'outcome': _outcome(self.episode).value,
      'run_episode': self.episode.begin['episode'],
      'recording': self.index,
      'first_step': self.first,
      'policy_version': self.episode.begin['policy_version'],
    }


@dataclasses.dataclass
class Counts:
  """What was exported, and what was not.

  parts, frames: written. done: parts that were there before. unlabeled:
  episodes with an outcome that was not asked for. blind: without pictures.
  missing: recorded steps that should have had pictures.
  """

  parts: int = 0
  frames: int = 0
  done: int = 0
  unlabeled: int = 0
  blind: int = 0
  missing: int = 0

  def describe(self) -> str:
    """Returns it as a sentence."""
    text = f'{self.parts} episodes with {self.frames} frames written'
    for count, what in (
      (self.done, 'episodes were there before'),
      (self.unlabeled, 'episodes of the run have another outcome'),
      (self.blind, 'have no pictures'),
      (self.missing, 'steps lack their pictures'),
    ):
      text += f'; {count} {what}' if count else ''
    return text + '.'


def export(
  run: str | os.PathLike[str],
  folder: str | os.PathLike[str],
  *,
  outcomes: Collection[str] = OUTCOMES,
  video: str = '',
  resume: bool = False,
  report: Callable[[str], None] = lambda text: None,
) -> Counts:
  """Writes the closed episodes of a run; it may still go on.

  Args:
    run: folder of the run, with journal and pictures.
    folder: of the dataset.
    outcomes: of the episodes to write, of OUTCOMES.
    video: '' for pictures as they were kept, lossless, or a codec.
    resume: add what the dataset does not have yet.
    report: called with a line of text for each episode of the run.

  Raises:
    ValueError: no pictures, an outcome that does not exist, or a dataset of
      another run or other outcomes.
    JournalError: a damaged file.
  """
  run, wanted = pathlib.Path(run), set(outcomes)
  if unknown := sorted(wanted - set(OUTCOMES)):
    raise ValueError(f'outcomes must be of {list(OUTCOMES)}: {unknown}.')
  for name in (JOURNAL, PICTURES):
    _close_killed(run / name)
  kept = _find_pictures(run)
  about = _about(kept, run)
  counts = Counts()
  with _open_writer(folder, about, video, resume) as writer:
    for episode in episodes.read(run / JOURNAL):
      if _outcome(episode) not in wanted:
        counts.unlabeled += 1
        continue
      number = episode.begin['episode']
      if number not in kept:
        counts.blind += 1
        continue
      _export_episode(writer, episode, kept[number], counts)
      report(f'Episode {number} of the run: {counts.describe()}')
  return counts


def _export_episode(
  writer: Writer, episode: Episode, kept: PictureFile, counts: Counts
) -> None:
  stride, prompt = kept.about['replay_stride'], kept.about['prompt']
  seen = {x.key: None for x in pictures.read(kept.entry)}
  parts = list(_parts(episode, {(x.recording, x.step) for x in seen}, stride))
  due = sum(len(range(0, len(x.steps), stride)) for x in episode.recordings)
  counts.missing += due - sum(len(_steps(x, stride)) for x in parts)
  observations = pictures.read(kept.entry)
  for part in parts:
    if counts.parts + counts.done < writer.num_episodes:
      _check_same(writer, counts.done, part)
      counts.done += 1
      continue
    with writer.episode(prompt, **part.fields) as written:
      for frame in _frames(part, observations, stride):
        written.add(frame)
    counts.parts += 1
    counts.frames += written.length


def _parts(
  episode: Episode, seen: Collection[tuple[int, int]], stride: int
) -> Iterator[Part]:
  """Yields the parts of an episode, given the steps that have pictures."""
  for index, recording in enumerate(episode.recordings):
    num, first = len(recording.steps), None
    for step in range(0, num + stride, stride):
      here = step < num and (index, step) in seen
      if here and first is None:
        first = step
      if not here and first is not None:
        is_end = step >= num and recording is episode.recordings[-1]
        yield Part(episode, index, first, step - stride, is_end)
        first = None


def _steps(part: Part, stride: int) -> range:
  return range(part.first, part.last + 1, stride)


def _frames(
  part: Part, observations: Iterator[Observation], stride: int
) -> Iterator[dict[str, Any]]:
  """Yields the rows of a part; takes its pictures from the iterator."""
  recording: Recording = part.episode.recordings[part.index]
  outcome = _outcome(part.episode)
  steps = _steps(part, stride)
  ends = episodes_lib.end_columns(
    len(steps),
    success=part.is_end and outcome is EpisodeOutcome.SUCCESS,
    terminated=part.is_end
    and outcome in (EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE),
  )
  for number, end in zip(steps, ends, strict=True):
    seen = next(x for x in observations if x.key[1:] == (part.index, number))
    step = recording.steps[number]
    yield {
      format_lib.STATE: step.measured,
      format_lib.ACTION: step.command,
      format_lib.JOINT_VELOCITY: seen.proprio[len(step.measured) :],
      format_lib.INTERVENTION: step.source == Source.HUMAN,
      format_lib.SOURCE: step.source,
      **{
        format_lib.CAMERA_PREFIX + name: content
        for name, content in seen.images.items()
      },
      **end,
    }


def _open_writer(
  folder: str | os.PathLike[str],
  about: dict[str, Any],
  video: str,
  resume: bool,
) -> Writer:
  features = episodes_lib.make_features(
    about['joint_names'],
    {name: tuple(shape[:2]) for name, shape in about['cameras'].items()},
    velocities=True,
    sources=True,
  )
  fps = about['control_hz'] / about['replay_stride']
  return Writer(
    folder,
    features,
    fps=fps,
    robot_type=about['robot'],
    video=video,
    resume=resume,
  )


def _check_same(writer: Writer, number: int, part: Part) -> None:
  found = writer.read_fields(number, part.fields)
  if found != part.fields:
    raise ValueError(
      f'A dataset that is continued must be of the same run and outcomes: '
      f'episode {number} of {writer.folder} is {found}, and now {part.fields}.'
    )


def _find_pictures(run: pathlib.Path) -> dict[int, PictureFile]:
  """Returns the closed files with pictures by the episode of the run."""
  if not (run / JOURNAL).is_dir():
    raise ValueError(f'A run of a robot must hold {JOURNAL}: none in {run}.')
  found = pictures.find(run / PICTURES)
  found = {number: x for number, x in found.items() if x.entry.closed}
  if not found:
    raise ValueError(
      f'A run must have kept the pictures of an episode: none in '
      f'{run / PICTURES}. Run experiments.robot with --keep_pictures.'
    )
  return found


def _about(kept: dict[int, PictureFile], run: pathlib.Path) -> dict[str, Any]:
  """Returns what all files with pictures say of the run."""
  first: dict[str, Any] = {}
  for number, file in kept.items():
    about = {key: x for key, x in file.about.items() if key != 'episode'}
    first = first or about
    for key, value in about.items():
      if value != first[key]:
        raise ValueError(
          f'The pictures of a run must have one {key}: {first[key]} at first, '
          f'and {value} in episode {number} of {run}.'
        )
  return first


def _close_killed(folder: pathlib.Path) -> None:
  """Closes what a killed process left open; a run that goes on is let be."""
  if folder.is_dir():
    with contextlib.suppress(LockedError, PermissionError):
      Journal(folder).close()


def _outcome(episode: Episode) -> EpisodeOutcome:
  # Where the writer died, the arm was held by its watchdog.
  return episode.outcome or EpisodeOutcome.HOLD
