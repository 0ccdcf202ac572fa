"""Our datasets in LeRobot itself.

They run where RLT_JAX_LEROBOT_PYTHON names the Python of an environment as
docs/datasets.md makes it.
"""

import json
import os
import pathlib
import subprocess
import textwrap

import numpy as np
import pytest

from tests.datasets import conftest
from tests.datasets.lerobot import test_writer

_PYTHON = os.environ.get('RLT_JAX_LEROBOT_PYTHON', '')
_WAIT_S = 1_800.0
_LENGTHS = (6, 4, 5)

pytestmark = pytest.mark.skipif(
  not _PYTHON, reason='RLT_JAX_LEROBOT_PYTHON names no Python with LeRobot'
)


def _run(folder, *command):
  done = subprocess.run(
    list(map(str, command)),
    env=os.environ | {'HF_HUB_OFFLINE': '1', 'HF_HOME': str(folder / 'cache')},
    capture_output=True,
    text=True,
    check=False,
    timeout=_WAIT_S,
  )
  assert done.returncode == 0, done.stderr[-5_000:]
  return done.stdout + done.stderr


@pytest.mark.parametrize('video', ['', 'h264', 'av1'])
def test_lerobot_loads_merges_and_cuts_them(tmp_path, video):
  test_writer.write(tmp_path / 'a', _LENGTHS, video=video)
  program = """
    import json, pathlib, sys
    from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    folder = pathlib.Path(sys.argv[1])
    ours = LeRobotDataset(
      'local/a', root=folder / 'a', delta_timestamps={'action': [0.0, 0.04]}
    )
    plain = LeRobotDataset('local/a', root=folder / 'a')
    merged = merge_datasets([plain, plain], 'local/b', folder / 'b')
    cut = delete_episodes(plain, [1], folder / 'c', 'local/c')
    frame = ours[7]
    print('RESULT', json.dumps({
      'lengths': [len(ours), len(merged), len(cut)],
      'fps': ours.fps,
      'task': frame['task'],
      'action': frame['action'].tolist(),
      'state': frame['observation.state'].tolist(),
      'pixels': frame['observation.images.wrist'].mean((1, 2)).tolist(),
      'q99': ours.meta.stats['action']['q99'].tolist(),
      'merged': merged[22]['action'].tolist(),
      'cut': cut[7]['observation.state'].tolist(),
    }))
  """
  said = _run(tmp_path, _PYTHON, '-c', textwrap.dedent(program), tmp_path)
  (line,) = [x for x in said.splitlines() if x.startswith('RESULT ')]
  found = json.loads(line.removeprefix('RESULT '))
  assert found['lengths'] == [15, 30, 11] and found['fps'] == 25
  # Row 7 is the second one of the second episode.
  frame, after = (test_writer.make_frame(1, step) for step in (1, 2))
  expected = [frame['action'].tolist(), after['action'].tolist()]
  assert found['action'] == expected and found['task'] == 'insert'
  assert found['state'] == frame['observation.state'].tolist()
  image = frame[test_writer.CAMERA] / 255.0
  tolerance = 2.0 / 255.0 if video else 1e-6
  np.testing.assert_allclose(
    found['pixels'], image.mean((0, 1)), atol=tolerance
  )
  stats = json.loads((tmp_path / 'a/meta/stats.json').read_text())
  np.testing.assert_allclose(found['q99'], stats['action']['q99'])
  assert found['merged'] == frame['action'].tolist()
  assert found['cut'] == [np.float32(0.2), np.float32(0.01)]


def test_lerobot_trains_smolvla_on_them(tmp_path):
  test_writer.write(tmp_path / 'a', _LENGTHS)
  command = pathlib.Path(_PYTHON).parent / 'lerobot-train'
  _run(
    tmp_path,
    command,
    '--dataset.repo_id=local/a',
    f'--dataset.root={tmp_path / "a"}',
    '--policy.type=smolvla',
    f'--policy.vlm_model_name={conftest.DATA / "tiny_smolvlm"}',
    '--policy.load_vlm_weights=false',
    '--policy.num_vlm_layers=4',
    '--policy.resize_imgs_with_padding=[64,64]',
    '--policy.device=cpu',
    '--policy.push_to_hub=false',
    '--batch_size=2',
    '--steps=3',
    '--num_workers=0',
    f'--output_dir={tmp_path / "out"}',
  )
  saved = tmp_path / 'out/checkpoints/000003/pretrained_model'
  config = json.loads((saved / 'config.json').read_text())
  assert list(config['input_features']) == [
    'observation.state', test_writer.CAMERA
  ]  # fmt: skip
  assert list(config['output_features']) == ['action']
  assert (saved / 'model.safetensors').stat().st_size > 100_000
