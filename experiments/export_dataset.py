"""Exports a run of a robot as a LeRobot dataset, version 3.0.

  python -m experiments.export_dataset --run=runs/arm --out=data/arm
  python -m experiments.export_dataset --run=runs/arm --out=data/arm --resume
  python -m experiments.export_dataset --dataset=data/arm --out=data/arm_v21

The run must have been made with `--keep_pictures`. Every hold ends an episode
of the dataset. Columns: pictures, measured joints, executed commands,
velocities, who drove (`intervention`, `complementary_info.source`),
`next.reward`, `next.done` and `next.success`. With --resume what came since is
added, also while the run goes on. For demonstrations see `make_demos`.
--dataset writes a dataset of version 3.0 again as version 2.1, for openpi.

Cost: 0.8 ms of a core a picture of 64 x 64, and some fsync an episode.
"""

import pathlib

from absl import flags

from rlt_jax import lock
from rlt_jax.datasets import robot_run
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import older, writer
from rlt_jax.robot.recording.journal import JournalError

from . import launch, resuming

_RUN = launch.define_path('run', '', 'Folder of the run.')
_DATASET = launch.define_path(
  'dataset', '', 'Folder of a dataset to write as version 2.1.'
)
_OUT = launch.define_path(
  'out', None, 'Folder of the dataset, new without --resume.', required=True
)
_OUTCOMES = flags.DEFINE_list(
  'outcomes',
  list(robot_run.OUTCOMES),
  'Episodes of the run to export, by how they ended.',
)
_VIDEO = flags.DEFINE_enum(
  'video',
  '',
  writer.VIDEOS,
  'Codec of a video for each camera; empty keeps every picture lossless.',
)
_RESUME = launch.define_resume()


def main() -> None:
  """Exports and prints what was written and what was left out."""
  with launch.user_errors(JournalError, lock.LockedError):
    if bool(_RUN.value) == bool(_DATASET.value):
      raise ValueError('Give either --run or --dataset.')
    if _DATASET.value:
      if _RESUME.value or _VIDEO.present or _OUTCOMES.present:
        raise ValueError('--dataset takes no other flag than --out.')
      num = older.write_v21(_DATASET.value, _OUT.value, report=resuming.say)
      print(f'{_OUT.value}: {num} episodes of version 2.1 written.')
      return
    info = pathlib.Path(_OUT.value, format_lib.INFO_PATH)
    with (
      launch.resumable(info.exists),
      lock.hold_folder(_OUT.value, '--out', print),
    ):
      counts = robot_run.export(
        _RUN.value,
        _OUT.value,
        outcomes=_OUTCOMES.value,
        video=_VIDEO.value,
        resume=_RESUME.value,
        report=resuming.say,
      )
  print(f'{_OUT.value}: {counts.describe()}')


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
