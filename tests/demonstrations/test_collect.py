"""Demonstrations of a small task, collected as an experiment collects them."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.demonstrations import collect
from rlt_jax.demonstrations.collect import CollectConfig
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import Outcome
from rlt_jax.vlas import demos as demos_lib
from tests.demonstrations import point_demo_task
from tests.envs import point_task

_CONFIG = CollectConfig(
  episodes=8,
  worlds=4,
  other_every=3,
  other_steps=3,
  stride=2,
  chunk_size=2,
  horizon=4,
)


def collect_into(
  folder, task=None, assignments=(), space=None, resume=False, **changes
):
  task = task or point_demo_task.make()
  if changes.get('format') == 'lerobot':
    # Its rows are single steps.
    default = CollectConfig()
    single = {'chunk_size': default.chunk_size, 'horizon': default.horizon}
    changes = single | changes
  config = dataclasses.replace(_CONFIG, **changes)
  expert = collect.make_expert(task, assignments)
  lines = []
  table = collect.Collector(task, expert, config, space).run(
    folder, resume=resume, command='made', report=lines.append
  )
  return table, lines


def read(folder):
  return [
    dict(np.load(path, allow_pickle=False))
    for path in sorted(folder.glob('*.npz'))
  ]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('demos') / 'a'
  collect_into(folder)
  return folder


def test_a_shard_is_written_for_each_batch_of_worlds(folder):
  first, second = read(folder)
  # Worlds 0 and 3 have other instructions, which take turns.
  expected = ['go away', 'go to the goal', 'go to the goal', 'go up']
  for shard in (first, second):
    episodes, start = np.unique(shard['episode'], return_index=True)
    assert len(episodes) == 4
    assert shard['instruction'][start].tolist() == expected
  assert second['episode'].min() == first['episode'].max() + 1
  assert (first['proprio'][0] != second['proprio'][0]).any()


def test_training_reads_what_was_collected(folder):
  demos = demos_lib.load(
    folder, ['top'], lambda text: np.array([len(text)], np.int32)
  )
  assert demos.joint_names == ('x', 'y', 'finger')
  assert demos.control_hz == 50.0 and demos.action_mode == 'offset'
  assert demos.frames.chunk.shape[1:] == (4, 3)
  assert demos.frames.images['top'].shape[1:] == (64, 64, 3)
  assert len(np.unique(demos.frames.episode)) == 8


def test_demos_json_has_the_episodes_of_the_tasks_own_instruction(folder):
  table = json.loads((folder / 'demos.json').read_text())
  assert table['outcome'] == [Outcome.SUCCESS] * 4
  # From 45 to within 10 mm of the goal at 10 mm a step.
  assert set(table['steps']) <= {3, 4, 5}
  assert table['command'] == 'made'


def test_the_same_seed_makes_the_same_demonstrations(folder, tmp_path):
  collect_into(tmp_path / 'same')
  collect_into(tmp_path / 'other', seed=1)
  for x, y, z in zip(
    read(folder), read(tmp_path / 'same'), read(tmp_path / 'other'), strict=True
  ):
    for name in x:
      np.testing.assert_array_equal(x[name], y[name])
    assert (x['proprio'][0] != z['proprio'][0]).any()


def test_failures_are_counted_and_left_out_of_the_frames(tmp_path):
  slow, like = ['speed=0.001'], ActionSpace(np.ones(3, np.float32))
  table, lines = collect_into(tmp_path / 'a', None, slow, like)
  assert table['outcome'] == [Outcome.TIME_OUT] * 4
  assert table['steps'] == [12] * 4
  assert all('2 demonstrations' in line for line in lines[1:])
  assert all(
    'go to the goal' not in shard['instruction']
    for shard in read(tmp_path / 'a')
  )
  assert read(tmp_path / 'a')[0]['action_scale'].tolist() == [1.0] * 3
  with pytest.raises(ValueError, match='An action unit needs a demonstration'):
    collect_into(tmp_path / 'b', None, slow)
  # Nothing to store is no shard.
  _, lines = collect_into(tmp_path / 'c', None, slow, like, other_every=0)
  assert lines[1].startswith('1 of 2: 0 demonstrations, 0 frames')
  assert not read(tmp_path / 'c')


def test_an_episode_given_up_is_one_out_of_time(tmp_path):
  table, _ = collect_into(
    tmp_path / 'a', None, ['speed=0.001'], frames=False, steps=5
  )
  assert table['outcome'] == [Outcome.TIME_OUT] * 4
  assert table['steps'] == [5] * 4
  assert [path.name for path in (tmp_path / 'a').iterdir()] == ['demos.json']


@pytest.mark.parametrize(
  'make, message',
  [
    (point_task.make, 'need a task with make_expert: point'),
    (point_demo_task.make_without_cameras, 'need a task with cameras: point'),
    (point_demo_task.make_without_tip, 'need a task with a tip: point'),
  ],
)
def test_a_task_that_cannot_be_demonstrated_is_refused(tmp_path, make, message):
  with pytest.raises(ValueError, match=message):
    collect_into(tmp_path / 'a', make())
  assert not (tmp_path / 'a').exists()


def test_lengths_alone_need_no_cameras(tmp_path):
  task = point_demo_task.make_without_cameras()
  table, _ = collect_into(tmp_path / 'a', task, frames=False)
  assert table['outcome'] == [Outcome.SUCCESS] * 4


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'episodes': 6}, 'episodes must be a multiple of worlds 4: 6'),
    ({'stride': 0}, 'stride must be at least 1: 0'),
    ({'steps': 0}, 'steps must be at least 1: 0'),
    ({'other_every': -1}, 'other_every must not be negative: -1'),
    ({'horizon': 1}, 'horizon must be at least chunk_size 2: 1'),
    ({'action_mode': 'x'}, "action_mode must be one of .*: 'x'"),
    ({'other_every': 1}, 'must leave a world for the task itself: 1 with 4'),
  ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    collect_into(tmp_path / 'a', **changes)


def test_a_task_of_one_instruction_has_no_others():
  assert collect.choose_instructions(4, 3, 0).tolist() == [0, 0, 0, 0]
  assert collect.choose_instructions(4, 0, 2).tolist() == [0, 0, 0, 0]
  assert collect.choose_instructions(5, 2, 2).tolist() == [1, 0, 2, 0, 1]


def test_the_tasks_own_instruction_is_said_in_all_its_phrasings(tmp_path):
  task = point_demo_task.make()
  spec = dataclasses.replace(task.spec, phrasings=('reach it', 'touch it'))
  collect_into(tmp_path / 'a', dataclasses.replace(task, spec=spec))
  prompts = [
    row['instruction'][row['episode'] == episode][0]
    for row in read(tmp_path / 'a')
    for episode in np.unique(row['episode'])
  ]
  own = [spec.instruction, *spec.phrasings]
  others = list(spec.other_instructions)
  # Worlds 0 and 3 follow another instruction, 1 and 2 the task's own.
  assert set(prompts) <= {*own[:2], *others}
  assert {*own[:2]} <= set(prompts)
  words = collect.choose_prompts(np.array([0, 2, 0, 0, 1, 0]), spec)
  assert words == [own[0], others[1], own[1], own[2], others[0], own[0]]


def test_an_expert_without_settings_refuses_them():
  task = point_demo_task.make()
  expert = task.make_expert(None)
  task = dataclasses.replace(task, make_expert=lambda unused: expert)
  assert collect.make_expert(task) is expert
  with pytest.raises(ValueError, match=r"given settings: \['speed=1'\]"):
    collect.make_expert(task, ['speed=1'])


def run_experiment(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'experiments.make_demos', *arguments],
    capture_output=True,
    text=True,
    check=False,
  )


def test_flags_choose_task_and_expert(tmp_path):
  done = run_experiment(
    *('--task=tests.demonstrations.point_demo_task:make', '--episodes=4'),
    *('--worlds=4', '--other_every=4', '--set=task.time_limit=7'),
    *('--expert=speed=0.001', '--noframes', f'--out={tmp_path / "a"}'),
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1].startswith('success 0.00')
  table = json.loads((tmp_path / 'a' / 'demos.json').read_text())
  assert table['steps'] == [7] * 3
  assert table['command'].startswith('python -m experiments.make_demos --task=')


def test_wrong_flags_are_refused_in_a_sentence(tmp_path):
  task = '--task=tests.demonstrations.point_demo_task:make'
  done = run_experiment(f'--out={tmp_path / "a"}', task, '--expert=aim=1')
  assert done.returncode == 1
  assert "error: PointExpertConfig has no field 'aim'" in done.stderr
  done = run_experiment(f'--out={tmp_path / "a"}', '--set=seed=1')
  assert 'error: A setting must be one of the task here, task.' in done.stderr
