"""Says in words what a dataset holds, what is missing, and whether it fits.

  python -m experiments.inspect_dataset --demos=DATASET
  python -m experiments.inspect_dataset --demos=DATASET --draft=mapping.json
  python -m experiments.inspect_dataset --demos=DATASET \\
      --mapping=mapping.json --vla=openpi:my_robot.json:CHECKPOINT \\
      --station=my_station.json

It reads LeRobot datasets of versions 3.0 and 2.1, ALOHA's HDF5 episodes and our
own .npz demonstrations. It prints ranges of every number, joints that are stuck
or jump, cameras that are dark or frozen, missing frames, episodes that show
nothing, and what would be refused in a training. It ends with status 1 if
something is wrong. Nothing is changed.

Cost: all numbers are read twice, joints three times, and --pictures of each
camera and episode are decoded; see docs/datasets.md.
"""

import contextlib
import pathlib

from absl import flags

from . import launch

_DEMOS = launch.define_path(
  'demos', None, 'The dataset: a folder, or a file.', required=True
)
_MAPPING = launch.define_path(
  'mapping', '', 'File that maps joints and cameras; see docs/datasets.md.'
)
_DRAFT = launch.define_path(
  'draft', '', 'New file for a mapping to fill in; nothing else is done.'
)
_VLA = launch.define_path(
  'vla', '', 'VLA that the dataset should fit, as --vla of train_token.'
)
_STATION = launch.define_path(
  'station', '', "Station's file of the robot that it should fit."
)
_PICTURES = flags.DEFINE_integer(
  'pictures', 5, 'Pictures to look at, of each episode and camera; 0 for none.'
)
_EPISODES = flags.DEFINE_integer(
  'episodes', 50, 'Largest number of episodes whose pictures are looked at.'
)


def main() -> None:
  """Inspects the dataset of the flags."""
  from rlt_jax.datasets import draft, inspection
  from rlt_jax.robot import station as station_lib

  with launch.user_errors():
    config = inspection.Inspection(
      mapping=_MAPPING.value,
      pictures=_PICTURES.value,
      episodes=_EPISODES.value,
    )
    recording = inspection.open_any(_DEMOS.value)
    if _DRAFT.value:
      with pathlib.Path(_DRAFT.value).open('x', encoding='utf-8') as file:
        file.write(draft.write_draft(recording))
      print(f'{_DRAFT.value}: replace every "?".')
      return
    station = station_lib.load(_STATION.value) if _STATION.value else None
    with contextlib.ExitStack() as stack:
      vla = None
      if _VLA.value:
        from rlt_jax.serving import remote_vla

        vla = stack.enter_context(remote_vla.opened(_VLA.value))
      is_fine = config.run(recording, print, vla, station)
  raise SystemExit(0 if is_fine else 1)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
