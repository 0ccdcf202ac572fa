"""What the dataset says that no checkpoint does."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.datasets import opening
from rlt_jax.lerobot import serving
from rlt_jax.lerobot.checkpoint import LoadedPolicy
from rlt_jax.lerobot.joint_table import JointTable
from rlt_jax.lerobot.service import LeRobotVla
from tests.lerobot import parts
from tests.lerobot.tiny_policies import DATASET


def test_facts_are_measured_on_all_rows(tmp_path):
  path = tmp_path / 'facts.json'
  mapping = parts.write_mapping(tmp_path)
  facts = serving.find_facts(str(path), str(DATASET), str(mapping))
  assert serving.find_facts(str(path)) == facts
  assert facts.joint_names == tasks.load('ethernet').spec.joint_names
  assert facts.data_hz == 30.0 and facts.control_hz == 50.0
  assert facts.state[0] == 'left_waist.pos'  # the policy's order is the data's
  assert [(x.height, x.width) for x in facts.cameras] == [(64, 64)] * 3
  recording = opening.open_recording(DATASET)
  rows = np.concatenate(
    [
      recording.read_vectors(i, ['observation.state'])['observation.state']
      for i in range(3)
    ]
  )
  table = JointTable(facts, 20)
  mean = np.array(facts.proprio_mean)[None, :14]
  np.testing.assert_allclose(
    table.state(mean)[0], rows.mean(0), rtol=1e-4, atol=1e-5
  )
  grip, std = facts.joint_names.index('left_gripper'), rows.std(0)
  assert facts.proprio_std[grip] == pytest.approx(0.03 * std[6], rel=1e-4)


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'state_key': 'qpos'}, "state_key .* LeRobot's, 'observation.state'"),
    ({'resample': 'never'}, '30 rows a second'),
    (
      {
        'cameras': [
          {
            'camera': 'base',
            'key': 'observation.images.cam_high',
            'crop': [0, 0, 32],
          }
        ]
      },
      'crop must be absent',
    ),
  ],
)
def test_a_mapping_that_no_policy_fits_is_refused(tmp_path, changes, rule):
  with pytest.raises(ValueError, match=rule):
    parts.make_facts(tmp_path, **changes)


def test_flags_that_do_not_fit_are_refused(tmp_path):
  with pytest.raises(ValueError, match='must come together'):
    serving.find_facts('facts.json', str(DATASET))
  (tmp_path / 'demos-0.npz').write_bytes(b'')
  mapping = str(parts.write_mapping(tmp_path))
  with pytest.raises(ValueError, match='must be the LeRobot dataset'):
    serving.find_facts('facts.json', str(tmp_path), mapping)


def _policy(facts, **changes):
  fields = {
    'kind': 'own',
    'policy': None,
    'config': SimpleNamespace(chunk_size=20, device='cpu'),
    'preprocess': None,
    'postprocess': None,
    'cameras': tuple(row.key for row in facts.cameras[::-1]),
    'state_dim': 14,
    'action_dim': 14,
    'state_moments': None,
    'digest': 'abc',
  }
  return LoadedPolicy(**fields | changes)


def adapter(policy):
  return lambda batch, noise: None


def test_a_policy_must_fit_the_facts(tmp_path):
  facts, own = parts.make_facts(tmp_path), f'{__name__}:adapter'
  vla = LeRobotVla(_policy(facts), facts, adapter=own)
  assert vla.cameras == ('wrist_right', 'wrist_left', 'base')
  assert vla.table.horizon == 32
  other = LeRobotVla(_policy(facts, digest='abd'), facts, adapter=own)
  slower = dataclasses.replace(facts, control_hz=25.0)
  third = LeRobotVla(_policy(facts), slower, adapter=own)
  prints = {vla.fingerprint, other.fingerprint, third.fingerprint}
  assert len(prints) == 3
  mean = JointTable(facts, 20).state(np.array(facts.proprio_mean)[None, :14])[0]
  std = np.array(facts.proprio_std)[:14]
  names = [row.state for row in facts.joints]
  order = [names.index(name) for name in facts.state]
  scale = np.array([row.line()[0] for row in facts.joints])
  good = np.stack([mean, (std / scale)[order]])
  LeRobotVla(_policy(facts, state_moments=good), facts, adapter=own)
  degrees = good.copy()
  degrees[:, 2] *= 180.0 / np.pi
  for changes, rule in (
    (
      {'state_moments': degrees},
      "'left_elbow.pos' must have the mean and",
    ),
    ({'cameras': ('a', 'b', 'c')}, r"missing \['a', 'b', 'c'\], unknown"),
    ({'state_dim': 16}, "state of the facts must have the policy's 16"),
    ({'action_dim': 7}, "action of the facts must have the policy's 7"),
  ):
    with pytest.raises(ValueError, match=rule):
      LeRobotVla(_policy(facts, **changes), facts, adapter=own)
