"""The files of demonstrations, from recorded episodes to training's reader."""

from typing import NamedTuple

import numpy as np
import pytest

from rlt_jax.demo_files import TaskFacts
from rlt_jax.demonstrations import writer
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.vlas import demo_source, known_tasks
from rlt_jax.vlas import demos as demos_lib

_A = 7
_SPACE = ActionSpace(np.full(_A, 0.5, np.float32))


class Demo(NamedTuple):
  images: dict
  frame_steps: np.ndarray
  proprio: np.ndarray
  joints: np.ndarray
  commands: np.ndarray
  final_pose: np.ndarray
  prompt: str
  rates: np.ndarray | None = None


def demo(steps, prompt='insert', rate=1.0):
  """Every joint is commanded `rate` further a step; the pose lags one step."""
  commands = rate * np.arange(1, steps + 1)[:, None] * np.ones(_A)
  frames = np.arange(0, steps, 2)
  return Demo(
    images={'base': np.zeros((len(frames), 8, 8, 3), np.uint8)},
    frame_steps=frames,
    proprio=np.zeros((steps, 2 * _A)),
    joints=commands - rate,
    commands=commands,
    final_pose=commands[-1],
    prompt=prompt,
  )


def columns(demos, first=0):
  return writer.to_columns(
    demos,
    _SPACE,
    first=first,
    horizon=4,
    control_hz=50.0,
    remaining_motion=lambda poses, goal: (goal - poses)[:, :6],
  )


def test_chunks_hold_the_last_command_past_the_end():
  commands, valid = writer.cut_chunks(demo(5), 4)
  assert commands[:, :, 0].tolist() == [
    [1, 2, 3, 4], [3, 4, 5, 5], [5, 5, 5, 5],
  ]  # fmt: skip
  assert valid.sum(1).tolist() == [4, 3, 1]


def test_the_unit_is_that_of_whole_chunks_of_the_instruction():
  demos = [demo(5), demo(9, prompt='lift', rate=100.0)]
  space = writer.measure_unit(demos, ('insert',), chunk_size=4, mode='offset')
  # One whole chunk: offsets 1 to 4 of the pose it began at.
  np.testing.assert_allclose(space.scale, np.sqrt(30 / 4), rtol=1e-6)
  with pytest.raises(ValueError, match='chunk_size steps long: none with 6'):
    writer.measure_unit(demos, ('insert',), chunk_size=6, mode='offset')


def test_columns_are_relative_to_the_pose_of_their_frame():
  found = columns([demo(5), demo(3, prompt='lift')], first=7)
  assert found['episode'].tolist() == [7, 7, 7, 8, 8]
  assert found['chunk'][1, :, 0].tolist() == [2.0, 4.0, 6.0, 6.0]
  assert found['remaining_motion'][:, 0].tolist() == [5, 3, 1, 3, 1]
  assert found['instruction'].tolist() == ['insert'] * 3 + ['lift'] * 2
  # Positions, then rates: a step of 1 at 50 a second, from rest.
  assert found['joints'][:, 0].tolist() == [0, 2, 4, 0, 2]
  assert found['joints'][:, _A].tolist() == [0, 50, 50, 0, 50]


def test_training_reads_what_was_written(tmp_path):
  for shard in range(2):
    writer.save_shard(
      tmp_path / f'shard_{shard}.npz',
      columns([demo(5)], first=shard),
      _SPACE,
      joint_names=[f'joint{i}' for i in range(_A)],
      control_hz=50.0,
    )
  demos = demos_lib.load(
    tmp_path, ['base'], lambda text: np.array([len(text), 0], np.int32)
  )
  assert len(demos) == 6
  assert demos.frames.episode.tolist() == [0, 0, 0, 1, 1, 1]
  assert demos.frames.prompt.tolist() == [[6, 0]] * 6
  assert demos.action_scale == (0.5,) * _A and demos.control_hz == 50.0
  space = writer.load_space(tmp_path)
  np.testing.assert_array_equal(space.scale, _SPACE.scale)
  assert space.mode == 'offset'


def test_a_vla_of_several_tasks_reads_joints_and_task(tmp_path):
  facts = TaskFacts('plug', 'insert', ('push',), ('lift',), ('x', 'y'))
  writer.save_shard(
    tmp_path / 'shard_0.npz',
    columns([demo(5)]),
    _SPACE,
    joint_names=[f'joint{i}' for i in range(_A)],
    control_hz=50.0,
    task=facts,
  )

  def tokenize(text):
    return np.array([len(text), 0], np.int32)

  demos = demos_lib.load(tmp_path, ['base'], tokenize, joints=True)
  assert demos.tasks == (facts,)
  assert demos.frames.proprio.shape == (3, 2 * _A)
  # Positions, and rates as the difference to the step before, per s.
  assert demos.frames.proprio[:, 0].tolist() == [0, 2, 4]
  assert demos.frames.proprio[:, _A].tolist() == [0, 50, 50]
  source = demo_source.NpzSource(tmp_path, ['base'], tokenize, joints=True)
  np.testing.assert_array_equal(source.read(0).proprio, demos.frames.proprio)
  assert source.describe() == demos.describe() and source.tasks == (facts,)


@pytest.mark.parametrize('names, joints', [(('x', 'y'), True), (None, False)])
def test_joints_begin_proprioception_where_they_must(tmp_path, names, joints):
  joint_names = [f'joint{i}' for i in range(_A)]
  entries = known_tasks.joint_entries(joint_names)
  facts = TaskFacts('plug', 'insert', (), (), names or entries)
  measured = demo(5)._replace(rates=np.full((5, _A), 7.0))
  writer.save_shard(
    tmp_path / 'shard_0.npz',
    columns([measured]),
    _SPACE,
    joint_names=joint_names,
    control_hz=50.0,
    task=facts,
  )
  source = demo_source.open_with_joints(
    tmp_path, ['base'], lambda text: np.array([1])
  )
  frames = source.read(0)
  # The demonstrations' own proprioception is zeros.
  expected = [0, 2, 4] if joints else [0, 0, 0]
  assert frames.proprio[:, 0].tolist() == expected
  if joints:  # rates as the task measured them
    assert set(frames.proprio[:, _A]) == {7.0}


def test_a_folder_without_demonstrations_is_refused(tmp_path):
  with pytest.raises(ValueError, match='a folder that holds some'):
    writer.load_space(tmp_path)
