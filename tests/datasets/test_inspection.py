import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlt_jax.datasets import draft, inspection, opening
from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets.inspection import Inspection
from rlt_jax.robot import station as station_lib
from rlt_jax.serving import server, vla_service
from rlt_jax.sim import two_arm_bench
from tests.datasets import aloha_files
from tests.datasets.conftest import CAMERAS, IMAGES, VIDEO
from tests.datasets.lerobot import files
from tests.training.test_foreign_vla import write_token
from tests.vlas import shards, toy_vla

_STATION = 'rlt_jax/robot/arms/stations/so101.json'
_TOP = 'observations/images/cam_high'


def inspect(path, vla=None, station=None, **fields):
  """Returns the text of a report and whether nothing was wrong."""
  lines = []
  recording = inspection.open_any(path)
  is_fine = Inspection(**fields).run(recording, lines.append, vla, station)
  return '\n'.join(lines), is_fine


@pytest.fixture
def episodes(tmp_path):
  """Returns a function that writes ALOHA episodes after changing the last."""

  def write(change=lambda columns: columns, joints=aloha_files.JOINTS):
    for number in range(3):
      columns = aloha_files.episode(120, number, joints)
      if number == 2:
        columns = change(columns) or columns
      aloha_files.write(tmp_path / f'e_{number}.hdf5', columns)
    return tmp_path

  return write


def test_a_sound_dataset_is_described(episodes, save):
  text, is_fine = inspect(episodes(), mapping=str(save(aloha_files.mapping())))
  assert is_fine and 'No things are wrong.' in text
  assert 'ALOHA HDF5, 3 episodes of 120 to 120 rows at 50 a second, 360' in text
  assert 'Joint velocities: observations/qvel.' in text
  assert 'j6: 0.04 * 6 (fraction to m), recorded' in text
  assert f'{_TOP}: 16x12, 15 pictures looked at, mean level 12' in text


def _stick(columns):
  columns['observations/qpos'][:, 3] = 0.5


def _jump(columns):
  columns['observations/qpos'][60:, 2] += 3.0


def _freeze(columns):
  columns['observations/qpos'][40:] = columns['observations/qpos'][40]


def _rest(columns):
  columns['observations/qpos'][:] = columns['observations/qpos'][0]


def _cut(columns):
  return {key: x[:8] for key, x in columns.items()}


def _darken(columns):
  columns[_TOP][:] //= 64


def _still(columns):
  columns[_TOP][:] = columns[_TOP][0]


def _still_from_its_middle_on(columns):
  columns[_TOP][55:] = columns[_TOP][55]


def _paint(columns):
  columns[_TOP][:] = 100


def _spoil(columns):
  columns['action'][3, 1] = np.inf


@pytest.mark.parametrize(
  'change, message',
  [
    (_stick, '3 is stuck: it moves by 0 while its command moves by 2'),
    (_jump, '2 jumps by 2.9'),
    (_freeze, 'joints read the same for 80 rows from row 40 on'),
    (_rest, 'nothing moves from its first row to its last.'),
    (_cut, 'it ends after 8 rows, too soon to show a task.'),
    (_darken, 'cam_high is dark: its mean level is 1.'),
    (_still, 'cam_high is frozen: in 5 pictures'),
    (
      _still_from_its_middle_on,
      'cam_high is frozen: rows 59 and 89 show the same picture within 0 '
      'levels, while ',
    ),
    (_paint, 'cam_high shows one plain color.'),
    (_spoil, 'is unreadable: action must be finite: inf in row 3, entry 1'),
  ],
)
def test_faults_of_an_episode_are_found(episodes, change, message):
  text, is_fine = inspect(episodes(change))
  assert not is_fine
  (line,) = [x for x in text.splitlines() if x.startswith('WRONG')]
  assert line.startswith('WRONG: Episode 2') and message in line, line
  assert '1 thing is wrong.' in text
  assert 'as skip_episodes takes them: [2].' in text


def test_a_still_picture_of_a_still_arm_is_no_fault(episodes):
  def rest(columns):
    _still_from_its_middle_on(columns)
    for key in ('observations/qpos', 'action'):
      columns[key][55:] = columns[key][55]

  text, is_fine = inspect(episodes(rest))
  assert is_fine, text


def test_short_episodes_are_counted_in_one_line():
  text, _ = inspect(IMAGES)
  assert '2 episodes end after 20 to 25 rows, 0.83 s: 0, 1, too soon' in text
  assert 'as skip_episodes takes them: [0, 1].' in text


def test_ends_in_success_are_counted(copy):
  folder = copy(IMAGES)
  add = np.zeros((75, 1), np.float32)
  add[[19, 74]] = 1.0  # episodes 0 and 2 of 20, 25 and 30 rows
  files.add(folder, 'next.success', add)
  files.change(folder, next__done=lambda rows: [False] * 74 + [True])
  text, _ = inspect(folder, pictures=0)
  assert (
    'Ends of episodes: 2 of 3 have next.success, 1 of 3 have next.done.' in text
  )
  assert 'note: 1 of 3 episodes end without next.success: 1.' in text
  assert 'note: 2 of 3 episodes end without next.done: 0, 1.' in text
  text, _ = inspect(VIDEO, pictures=0)
  assert 'next.success,' not in text.split('Columns')[0]


@pytest.mark.parametrize('rest, said', [(99, False), (102, True)])
def test_a_long_rest_at_the_end_is_said(episodes, rest, said):
  def stop(columns):
    for key in ('observations/qpos', 'action'):
      columns[key][-rest:] = columns[key][-rest]

  text, is_fine = inspect(episodes(stop), pictures=0)
  assert is_fine, text
  pattern = r'note: 1 of 3 episodes end in rest, for up to 10\d rows: 2\. '
  assert (re.search(pattern, text) is not None) == said
  assert 'Ends of episodes' not in text


def test_many_faults_are_counted(tmp_path):
  for number in range(40):
    columns = aloha_files.episode(12, number)
    columns['action'][0] = np.nan
    aloha_files.write(tmp_path / f'e_{number}.hdf5', columns)
  text, _ = inspect(tmp_path, pictures=0)
  assert text.count('is unreadable') == 30
  assert 'WRONG: 10 more of this kind.' in text


def test_episodes_that_are_left_out_are_not_judged(episodes, save):
  table = aloha_files.mapping() | {'skip_episodes': [2]}
  _, is_fine = inspect(episodes(_stick), mapping=str(save(table)))
  assert is_fine


def test_a_dataset_without_a_sound_episode_is_said(episodes):
  folder = episodes(_spoil)
  for number in range(2):
    (folder / f'e_{number}.hdf5').unlink()
  text, is_fine = inspect(folder)
  assert not is_fine and text.startswith('WRONG: Episode 2 is unreadable')


def test_entries_that_never_move_are_marked(tmp_path):
  for number in range(2):
    columns = aloha_files.episode(60, number)
    columns['observations/qpos'][:, 4] = 1.0
    aloha_files.write(tmp_path / f'e_{number}.hdf5', columns)
  text, _ = inspect(tmp_path, pictures=0)
  (line,) = [x for x in text.splitlines() if 'never moves' in x]
  assert line.split()[:3] == ['4', '1', '1']
  assert 'Cameras' not in text


def test_gaps_takeovers_and_gone_episodes_are_said(copy):
  folder = copy(IMAGES)
  table = pq.read_table(folder / files.DATA_FILE)
  parts = [table.slice(0, 20), table.slice(45)]
  pq.write_table(pa.concat_tables(parts), folder / files.DATA_FILE)
  file = folder / 'meta/episodes/chunk-000/file-000.parquet'
  rows = pq.read_table(file)
  pq.write_table(pa.concat_tables([rows.slice(0, 1), rows.slice(2)]), file)
  files.set_info(folder, total_episodes=2, total_frames=50)
  files.change(
    folder, frame_index=lambda x: [*x[:30], *(i + 1 for i in x[30:])]
  )
  text, is_fine = inspect(folder)
  assert 'Numbers of episodes that are not there: 1.' in text
  assert 'A person took over in 2 episodes, 10 rows.' in text
  assert 'Episode 2 has gaps: frame_index must count from 0' in text
  assert 'Episode 0: it ends after 20 rows, 0.67 s' in text
  assert "'Lift the plug.' (1)" in text and not is_fine


def test_a_video_that_does_not_decode_is_said_once(copy):
  folder = copy(VIDEO)
  next((folder / 'videos').rglob('*.mp4')).write_bytes(b'none')
  text, _ = inspect(folder)
  (line,) = [x for x in text.splitlines() if 'must decode' in x]
  assert line.startswith(f'WRONG: Episode 0: observation.images.{CAMERAS[0]}')


def test_a_mapping_is_checked(episodes, table, save):
  swapped = aloha_files.mapping()
  swapped['joints'][0] |= {'action': '2', 'scale': -1.0}
  swapped['joints'][2]['action'] = '0'
  text, _ = inspect(episodes(), mapping=str(save(swapped)), pictures=0)
  assert "WRONG: j0 does not follow its command '2': their corr" in text
  assert 'j0: -1 * 0 (rad to rad), recorded' in text
  wrong = save(table | {'cameras': [{'camera': 'a', 'key': 'b'}]})
  text, _ = inspect(IMAGES, mapping=str(wrong))
  assert "The mapping does not fit: Camera 'a' must be a camera of" in text


def _bench(table):
  """Returns the mapping of the dataset to the joints of the toy VLA."""
  joints = [
    row | {'joint': name}
    for row, name in zip(table['joints'], two_arm_bench.JOINTS, strict=True)
  ]
  cameras = [
    {'camera': name, 'key': row['key']}
    for name, row in zip(
      toy_vla.make().spec.cameras, table['cameras'], strict=True
    )
  ]
  rate = {'control_hz': 50.0, 'resample': 'linear'}
  return table | {'joints': joints, 'cameras': cameras} | rate


def test_a_vla_is_compared(table, save):
  vla = toy_vla.make()
  mapping = str(save(_bench(table)))
  text, _ = inspect(IMAGES, vla=vla, mapping=mapping)
  assert 'The VLA cannot use it' not in text
  assert 'note: right_j1 moves ' in text
  text, is_fine = inspect(IMAGES, vla=vla, mapping=str(save(table)))
  assert 'The VLA cannot use it: joints of the mapping must be the VLA' in text
  assert not is_fine
  text, is_fine = inspect(IMAGES, vla=vla)
  assert 'WRONG: Without --mapping units' in text and not is_fine


def test_a_vla_behind_a_socket_is_compared(table, save, tmp_path):
  vla = toy_vla.make()
  token = write_token(tmp_path / 'toy', vla.spec)
  spec = vla_service.make_spec(vla, token)
  with server.PolicyServer(pytest.fail, spec.metadata(), port=0) as served:
    done = subprocess.run(
      [
        *(sys.executable, '-m', 'experiments.inspect_dataset'),
        *('--pictures=0', f'--demos={IMAGES}'),
        f'--mapping={save(_bench(table))}',
        f'--vla=ws://127.0.0.1:{served.port}',
      ],
      capture_output=True,
      text=True,
      check=False,
    )
  assert 'note: right_j1 moves ' in done.stdout, done.stderr
  assert 'The VLA cannot use it' not in done.stdout


def test_a_station_is_compared(episodes, save):
  station = station_lib.load(_STATION)
  folder = episodes(joints=6)
  names = station[1].joint_names
  table = aloha_files.mapping(joints=6)
  joints = [
    row | {'joint': name}
    for row, name in zip(table['joints'], names, strict=True)
  ]
  cameras = [
    row | {'camera': name}
    for row, name in zip(table['cameras'], station[0].camera_names, strict=True)
  ]
  table |= {'joints': joints, 'cameras': cameras}
  text, _ = inspect(folder, station=station, mapping=str(save(table)))
  assert 'must be that of the station, 30: 50.' in text
  assert 'Commands of gripper must be within 0 and 1.75 rad on so101' in text
  assert 'shoulder_pan moves at up to 3 rad/s, and so101 allows 1' in text
  table['cameras'][0]['camera'] = 'frnt'
  table['joints'][0]['joint'] = 'pan'
  text, _ = inspect(folder, station=station, mapping=str(save(table)))
  assert "['frnt'] are not. Did you mean 'front' for 'frnt'?" in text
  assert "so101: joints of the mapping must be the arm's" in text
  table['joints'][0] |= {'joint': names[0], 'recorded': 'm'}
  text, _ = inspect(folder, station=station, mapping=str(save(table)))
  assert 'shoulder_pan must be in rad on so101: the mapping makes it m.' in text


def test_our_own_demonstrations_are_inspected(tmp_path, demos):
  shards.write(tmp_path / 'a.npz', demos, np.arange(0, 100, 2))
  text, _ = inspect(tmp_path, vla=toy_vla.make())
  assert 'rlt_jax .npz, 10 episodes of 5 to 5 rows at a rate that' in text
  assert 'The VLA cannot use it: Demonstrations must have' in text
  assert 'top: 16x16, 50 pictures looked at' in text
  with pytest.raises(ValueError, match='--station is compared through a map'):
    inspect(tmp_path, station=(None, None))


def test_a_draft_holds_what_the_dataset_says(tmp_path, episodes):
  file = tmp_path / 'draft.json'
  for path in (IMAGES, episodes()):
    text = draft.write_draft(opening.open_recording(path))
    file.write_text(text, 'utf-8')
    with pytest.raises(ValueError, match='must be'):  # a '?' is no value
      mapping_lib.load(file)
    table = json.loads(text)
    for row in table['joints']:
      row['recorded'] = 'rad'
    table['actions'] = 'joint_position'
    for name, value in (
      ('fps', 50.0), ('control_hz', 50.0), ('color_order', 'rgb'),
      ('instruction', 'Insert the plug.'),
    ):  # fmt: skip
      if table.get(name) == '?':
        table[name] = value
    file.write_text(json.dumps(table), 'utf-8')
    text, _ = inspect(path, mapping=str(file))
    assert 'The mapping does not fit' not in text


def test_settings_that_are_refused():
  for fields in ({'pictures': 1}, {'episodes': 0}):
    with pytest.raises(ValueError, match='must be'):
      Inspection(**fields)
