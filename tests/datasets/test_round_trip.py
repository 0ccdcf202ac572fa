"""Our demonstrations, written as a LeRobot dataset and read again."""

import pathlib

import numpy as np
import pytest

from rlt_jax import datasets
from rlt_jax.datasets import opening
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot import writer
from rlt_jax.datasets.lerobot.format import Feature
from rlt_jax.demonstrations import writer as demo_writer
from rlt_jax.demonstrations.record import Demo
from rlt_jax.sim import two_arm_bench
from rlt_jax.vlas.pi_small.config import PiConfig

_MAPPING = (
  pathlib.Path(datasets.__file__).parent / 'mappings/two_arm_bench.json'
)
_MOTION = 'complementary_info.remaining_motion'


def _make_demo(seed, steps=40):
  rng = np.random.default_rng(seed)
  config, A = PiConfig(), len(two_arm_bench.JOINTS)
  pose = np.cumsum(rng.normal(0, 0.01, (steps, A)), axis=0)
  pose[:, 6::7] = 0.01 + 0.001 * pose[:, 6::7]
  proprio = np.concatenate([pose, rng.normal(size=(steps, A))], axis=1)
  images = {
    name: rng.integers(0, 256, (steps, 64, 64, 3), np.uint8)
    for name in config.cameras
  }
  return Demo(
    images=images,
    frame_steps=np.arange(steps),
    proprio=proprio.astype(np.float32),
    joints=pose.astype(np.float32),
    commands=(pose + rng.normal(0, 0.002, pose.shape)).astype(np.float32),
    final_pose=pose[-1],
    prompt='insert the plug',
    outcome=1,
  )


def _motion(pose, final_pose):
  return np.asarray(pose - final_pose, np.float32)[:, :6]


def _write(folder, demos):
  names = two_arm_bench.JOINTS
  joints = Feature('float32', (len(names),), names)
  features = {
    format_lib.STATE: joints,
    format_lib.ACTION: joints,
    format_lib.JOINT_VELOCITY: joints,
    _MOTION: Feature('float32', (6,)),
  } | {
    f'{format_lib.CAMERA_PREFIX}{name}': Feature(
      'image', (64, 64, 3), format_lib.HEIGHT_WIDTH_CHANNELS
    )
    for name in demos[0].images
  }
  with writer.Writer(folder, features, fps=50) as dataset:
    for demo in demos:
      pose, velocity = np.split(demo.proprio, 2, axis=1)
      motion = _motion(pose, demo.final_pose)
      with dataset.episode(demo.prompt) as episode:
        for t, command in enumerate(demo.commands):
          episode.add({
            format_lib.STATE: pose[t],
            format_lib.ACTION: command,
            format_lib.JOINT_VELOCITY: velocity[t],
            _MOTION: motion[t],
          } | {
            f'{format_lib.CAMERA_PREFIX}{name}': x[t]
            for name, x in demo.images.items()
          })  # fmt: skip


def test_demonstrations_come_back_the_same(tmp_path):
  demos = [_make_demo(seed) for seed in range(2)]
  _write(tmp_path / 'dataset', demos)
  config = PiConfig()
  source = opening.open_source(
    tmp_path / 'dataset', config, config.tokenize, mapping=_MAPPING
  )
  space = demo_writer.measure_unit(
    demos, demos[0].prompt, chunk_size=10, mode='offset'
  )
  np.testing.assert_allclose(source.facts.action_scale, space.scale, rtol=1e-6)
  assert source.facts.joint_names == two_arm_bench.JOINTS
  for number, demo in enumerate(demos):
    expected = demo_writer.to_columns(
      [demo],
      space,
      first=number,
      horizon=config.horizon,
      control_hz=50.0,
      remaining_motion=_motion,
    )
    batch = source.read(number)
    for name in ('proprio', 'chunk_valid', 'remaining_motion', 'episode'):
      np.testing.assert_array_equal(getattr(batch, name), expected[name])
    np.testing.assert_allclose(
      batch.chunk, expected['chunk'], rtol=1e-5, atol=1e-5
    )
    for name, image in demo.images.items():
      np.testing.assert_array_equal(batch.images[name], image)


def test_a_mapping_of_another_robot_is_refused(tmp_path):
  demo = _make_demo(0, steps=30)
  _write(tmp_path / 'dataset', [demo])
  config = PiConfig(cameras=('front',))
  with pytest.raises(ValueError, match=r"\['front'\] are missing"):
    opening.open_source(
      tmp_path / 'dataset', config, config.tokenize, mapping=_MAPPING
    )
