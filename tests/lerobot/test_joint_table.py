"""Joints, units and rates between a robot and a policy."""

import dataclasses
import math

import numpy as np
import pytest

from rlt_jax.datasets.mapping import JointMap
from rlt_jax.lerobot import facts as facts_lib
from rlt_jax.lerobot.facts import CameraFacts, VlaFacts
from rlt_jax.lerobot.joint_table import JointTable

FACTS = VlaFacts(
  joints=(
    JointMap(joint='j1', state='pan.pos', recorded='deg', action='pan.goal'),
    JointMap(
      joint='gripper', state='grip.pos', recorded='percent',
      action='grip.goal', unit='m', at_low=0.03, at_high=-0.01,
    ),
    JointMap(
      joint='j2', state='lift.pos', recorded='rad', action='lift.goal',
      scale=-1.0, offset=0.5,
    ),
  ),
  state=('lift.pos', 'pan.pos', 'grip.pos'),
  action=('grip.goal', 'other', 'lift.goal', 'pan.goal'),
  cameras=(CameraFacts(camera='top', key='k', height=4, width=6),),
  data_hz=25.0,
  control_hz=50.0,
  resample='linear',
  action_scale=(0.1, 0.01, 0.2),
  proprio_mean=(0.0,) * 6,
  proprio_std=(1.0,) * 6,
)  # fmt: skip


def test_a_pose_becomes_the_policys_state():
  table = JointTable(FACTS, 4)
  state = table.state(np.array([[math.pi / 2, 0.02, 0.2]]))
  np.testing.assert_allclose(state, [[0.3, 90.0, 25.0]], rtol=1e-6)
  assert state.dtype == np.float32


def test_targets_come_back_in_the_robots_order_units_and_rate():
  table = JointTable(FACTS, 4)
  assert table.horizon == 7  # 3 intervals of 40 ms, in steps of 20 ms
  actions = np.zeros((2, 4, 4))
  actions[1, :, 0] = 25.0  # percent
  actions[1, :, 1] = np.nan  # an entry that is no joint
  actions[1, :, 2] = [0.0, 0.1, 0.2, 0.3]
  actions[1, :, 3] = [0.0, 90.0, 90.0, 180.0]
  out = table.decode(actions)
  assert out.shape == (2, 7, 3) and out.dtype == np.float32
  np.testing.assert_allclose(
    out[1, :, 0], np.pi * np.array([0, 1, 2, 2, 2, 3, 4]) / 4, rtol=1e-6
  )
  np.testing.assert_allclose(out[1, :, 1], 0.02, rtol=1e-6)
  np.testing.assert_allclose(
    out[1, :, 2], 0.5 - np.array([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
    rtol=1e-5,
  )  # fmt: skip


def test_a_faster_policy_is_thinned():
  facts = dataclasses.replace(FACTS, data_hz=50.0, control_hz=20.0)
  table = JointTable(facts, 6)
  assert table.horizon == 3  # 0, 50 and 100 ms
  actions = np.zeros((1, 6, 4))
  actions[0, :, 2] = np.arange(6.0)
  np.testing.assert_allclose(
    0.5 - table.decode(actions)[0, :, 2], [0.0, 2.5, 5.0], rtol=1e-6
  )


def test_equal_rates_change_nothing():
  facts = dataclasses.replace(FACTS, data_hz=50.0, resample='never')
  table = JointTable(facts, 5)
  actions = np.random.default_rng(0).normal(size=(1, 5, 4))
  assert table.horizon == 5
  np.testing.assert_allclose(
    table.decode(actions)[0, :, 2], 0.5 - actions[0, :, 2], rtol=1e-5
  )


def test_noise_finds_its_joints():
  table = JointTable(FACTS, 4)
  noise = np.arange(21.0).reshape(1, 7, 3)
  rest = np.full((4, 6), -1.0)
  start = table.noise(noise, rest)
  assert start.shape == (1, 4, 6) and start.dtype == np.float32
  np.testing.assert_array_equal(start[0, :, 3], noise[0, :4, 0])
  np.testing.assert_array_equal(start[0, :, 0], noise[0, :4, 1])
  np.testing.assert_array_equal(start[0, :, 2], noise[0, :4, 2])
  assert (start[0][:, [1, 4, 5]] == -1.0).all()
  assert (table.noise(noise[:, :2], rest)[0, 2:] == -1.0).all()


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'resample': 'never'}, "25 times a second .* 50: .*'linear'"),
    ({'resample': 'cubic'}, 'resample must be one of'),
    ({'data_hz': 0.0}, 'data_hz must be positive: 0.0'),
    ({'state': ('lift.pos', 'pan.pos')}, r"state must .*\['grip.pos'\]"),
    (
      {'state': (*FACTS.state, 'pan.vel')},
      r"must be a joint, .* \['pan.vel'\] are none",
    ),
    ({'action': ('pan.goal',)}, 'action must have the entries of the joints'),
    ({'action_scale': (0.1, 0.2)}, 'action_scale must be 3 finite numbers'),
    ({'proprio_std': (0.0,) * 6}, 'proprio_std must be positive'),
    ({'cameras': ()}, 'cameras must be distinct, at least one'),
  ],
)
def test_facts_are_refused_by_name(changes, rule):
  with pytest.raises(ValueError, match=rule):
    dataclasses.replace(FACTS, **changes)
  with pytest.raises(ValueError, match='two control steps'):
    JointTable(dataclasses.replace(FACTS, control_hz=25.0), 1)


def test_facts_survive_their_file(tmp_path):
  path = tmp_path / 'facts.json'
  facts_lib.save(path, FACTS)
  assert facts_lib.load(path) == FACTS
  facts_lib.save(path, FACTS)
  other = dataclasses.replace(FACTS, action_scale=(0.1, 0.01, 0.3))
  with pytest.raises(ValueError, match='holds other facts'):
    facts_lib.save(path, other)
  with pytest.raises(ValueError, match='--demos=DATASET'):
    facts_lib.load(tmp_path / 'none.json')
