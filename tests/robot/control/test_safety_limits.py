import dataclasses

import numpy as np
import pytest

from rlt_jax.robot.arm import Reading
from rlt_jax.robot.control import kinematics, safety_limits, workspace
from rlt_jax.robot.control.safety_limits import Hold, Limit
from tests.robot.fake_arm import make_arm_spec, make_two_arm_spec

_DT = 0.02
_POSE = np.array([0.1, -0.1, 0.2, 0.01])
_FUZZED = 1_000_000
_BATCH = 50_000


def _limit(command, pose=_POSE, *, spec=None, previous=None, **times):
  times = {'observed': 10.0, 'now': 10.01, 'obs_time': 9.9} | times
  return safety_limits.limit(
    spec or make_arm_spec(),
    np.asarray(command),
    reading=Reading(np.asarray(pose), np.zeros(4), times.pop('observed')),
    previous=previous,
    period_s=_DT,
    **times,
  )


def test_a_command_within_every_limit_is_not_touched():
  command = _POSE + [0.003, -0.002, 0.001, 0.002]
  out = _limit(command)
  np.testing.assert_array_equal(out.command, command)
  assert not out.changed.any() and out.verdict == ''


def test_an_arms_joints_are_shortened_together_its_gripper_alone():
  way = np.array([0.02, -0.04, 0.01, 0.001])
  out = _limit(_POSE + way, spec=make_arm_spec(max_velocity=(99.0,) * 4))
  np.testing.assert_allclose(out.command[:3], _POSE[:3] + way[:3] / 2)
  assert out.command[3] == _POSE[3] + 0.001
  assert out.changed.tolist() == [Limit.STEP] * 3 + [0]


def test_commands_are_shortened_as_in_the_simulator():
  # As `sim.action_space.limit_command` has it, inside the joints' range.
  rng = np.random.default_rng(0)
  spec = make_arm_spec(max_velocity=(99.0,) * 4, chains=())
  for _ in range(50):
    command = _POSE + rng.normal(size=4) * [0.03, 0.03, 0.03, 0.004]
    over = np.abs(command - _POSE) / spec.max_step
    over[:3] = over[:3].max()
    expected = _POSE + (command - _POSE) / np.maximum(over, 1.0)
    expected = np.clip(expected, spec.joint_low, spec.joint_high)
    out = _limit(command, spec=spec).command
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_the_range_is_each_joints_own():
  pose = np.array([0.99, 0.0, 0.0, 0.03])
  spec = make_arm_spec(chains=())
  out = _limit([1.01, 0.0, 0.0, 0.031], pose, spec=spec)
  np.testing.assert_allclose(out.command, [1.0, 0.0, 0.0, 0.03])
  assert out.changed.tolist() == [Limit.RANGE, 0, 0, Limit.RANGE]


def test_velocity_counts_from_the_command_before():
  before = _POSE + [0.004, 0.0, 0.0, 0.0]
  out = _limit(before + [0.02, 0.01, 0.0, 0.0], previous=before)
  # 0.5 rad/s is 0.01 rad a period: the step leaves 0.016 and 0.008 first.
  assert out.changed[0] & Limit.VELOCITY
  np.testing.assert_allclose(out.command[0], before[0] + 0.01)
  assert before[1] < out.command[1] < before[1] + 0.01


def test_a_command_out_of_the_workspace_goes_as_far_as_the_wall():
  b = np.arcsin(0.08 / 0.25)  # where the tip is at the box's floor
  pose = np.array([0.0, b - 0.003, 0.0, 0.01])
  out = _limit(pose + [0.001, 0.009, 0.0, 0.002], pose)
  assert out.command[1] == pytest.approx(b, abs=1e-6)
  assert out.command[0] == pytest.approx(0.001 / 3, abs=1e-6)
  assert out.command[3] == pose[3] + 0.002
  assert out.changed.tolist() == [Limit.WORKSPACE] * 2 + [0, 0]


def test_from_outside_the_workspace_only_the_way_back_is_sent():
  pose = np.array([0.0, 0.4, 0.0, 0.01])
  back = _limit(pose - [0.0, 0.008, 0.0, 0.0], pose)
  assert back.command[1] == pytest.approx(0.392) and back.verdict == ''
  further = _limit(pose + [0.0, 0.008, 0.0, 0.0], pose)
  assert further.command is None
  assert 'must stay in its workspace' in further.verdict


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_make_the_arm_hold(bad):
  command = _POSE.copy()
  command[1] = bad
  out = _limit(command)
  assert out.command is None and not out.changed.any()
  assert f'must be finite: command of b is {bad}' in out.verdict
  out = _limit(_POSE, command)
  assert f'position of b is {bad}' in out.verdict


@pytest.mark.parametrize(
  'times, message',
  [
    ({'observed': 9.9}, 'observation must be 0 to 0.1 s old: 0.110 s'),
    ({'observed': 10.02}, 'observation must be 0 to 0.1 s old: -0.010 s'),
    ({'obs_time': 9.5}, 'action must be 0 to 0.5 s old: 0.510 s'),
    ({'obs_time': 11.0}, 'action must be 0 to 0.5 s old: -0.990 s'),
    ({'obs_time': np.nan}, 'action must be 0 to 0.5 s old: nan s'),
    ({'now': np.inf}, 'observation must be 0 to 0.1 s old: inf s'),
  ],
)
def test_a_wrong_age_makes_the_arm_hold(times, message):
  out = _limit(_POSE, **times)
  assert out.command is None and message in out.verdict


def test_limits_that_leave_no_command_make_the_arm_hold():
  out = _limit(_POSE, [1.2, 0.0, 0.0, 0.01])
  assert out.command is None
  assert out.verdict.startswith('a must stay in -1.0 to 1.0, within 0.02')
  pushed = _limit(_POSE, previous=_POSE + [0.0, 0.0, 0.1, 0.0])
  assert pushed.command is None and pushed.verdict.startswith('c must stay')


@pytest.mark.parametrize(
  'change, message',
  [
    ({'command': np.zeros(3)}, r'command must have the shape \(4,\): \(3,\)'),
    ({'pose': np.zeros((1, 4))}, r'position must have the shape \(4,\)'),
    ({'previous': np.zeros(5)}, r'previous must have the shape \(4,\)'),
  ],
)
def test_another_shape_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    _limit(**({'command': _POSE} | change))


def test_kinematics_that_fail_make_the_arm_hold():
  out = safety_limits.limit(
    make_arm_spec(),
    _POSE,
    reading=Reading(_POSE, np.zeros(4), 10.0),
    previous=None,
    now=10.0,
    obs_time=10.0,
    period_s=_DT,
    tip=lambda chain, q: np.full((*q.shape[:-1], 3), np.nan),
  )
  assert out.command is None


def _fuzz(spec, rng, n):
  """Draws ticks: most are near a pose in range, some are anything at all."""
  low, high = np.array(spec.joint_low), np.array(spec.joint_high)
  step = np.array(spec.max_step)
  wild = np.array([np.nan, np.inf, -np.inf, 1.7e308, -1e300, 1e9, -7.0, 0.0])

  def spoil(rows, part):
    hit = rng.random(rows.shape) < part / rows.shape[1]
    return np.where(hit, rng.choice(wild, rows.shape), rows)

  pose = rng.uniform(low - step, high + step, (n, len(low)))
  near = rng.choice([0.3, 1.0, 3.0, 50.0], (n, 1))
  rows = {
    'position': spoil(pose, 0.02),
    'command': spoil(pose + near * rng.normal(size=pose.shape) * step, 0.1),
    'previous': spoil(pose + rng.normal(size=pose.shape) * step / 3, 0.02),
    'velocity': spoil(np.zeros_like(pose), 0.01),
  }
  now = np.full(n, 50.0)
  ages = np.array([0.0, 0.05, 0.1, 0.2, 0.6, -1.0, np.nan, np.inf, 1.7e308])
  part = [0.4, 0.4, 0.13] + [0.07 / 6] * 6
  seen, thought = rng.choice(ages, (2, n), p=part)
  return rows | {'now': now, 'observed': now - seen, 'obs_time': now - thought}


@pytest.mark.parametrize(
  'spec, ticks',
  [(make_arm_spec(), _FUZZED), (make_two_arm_spec(), _FUZZED // 10)],
)
def test_a_million_fuzzed_commands_never_pass_a_command_outside_the_limits(
  spec, ticks
):
  rng, step = np.random.default_rng(0), np.array(spec.max_step)
  way = np.array(spec.max_velocity) * _DT
  holds, bits, tiny = np.zeros(len(Hold), int), 0, 1e-12
  for _ in range(ticks // _BATCH):
    rows = _fuzz(spec, rng, _BATCH)
    out = safety_limits.limit_batch(spec, **rows, period_s=_DT)
    held = out.hold != Hold.NO
    holds += np.bincount(out.hold, minlength=len(Hold))
    bits |= int(np.bitwise_or.reduce(out.changed, axis=None))
    assert np.isnan(out.command[held]).all() and not out.changed[held].any()
    sent = out.command[~held]
    pose, before, wanted = (
      rows[name][~held] for name in ('position', 'previous', 'command')
    )
    assert np.isfinite(sent).all() and np.isfinite(wanted).all()
    assert (sent >= spec.joint_low).all() and (sent <= spec.joint_high).all()
    assert (np.abs(sent - pose) <= step + tiny).all()
    assert (np.abs(sent - before) <= way + tiny).all()
    assert (rows['now'] - rows['observed'])[~held].max() <= 0.1
    assert (rows['now'] - rows['obs_time'])[~held].max() <= 0.5
    assert (rows['observed'] <= rows['now'])[~held].all()
    assert (rows['obs_time'] <= rows['now'])[~held].all()
    for chain, joints in zip(
      spec.chains, kinematics.chain_joints(spec), strict=True
    ):
      far = workspace.outside(chain, sent[:, joints])
      assert (far <= workspace.outside(chain, pose[:, joints]) + tiny).all()
    # What was not changed is what was wanted; what was is marked.
    np.testing.assert_array_equal(
      out.changed[~held] != 0, np.abs(sent - wanted) > 0
    )
  assert holds.sum() == ticks and (holds > ticks // 1000).all(), holds
  assert bits == sum(Limit)


def test_one_command_is_limited_as_in_a_batch():
  spec, rng = make_arm_spec(), np.random.default_rng(1)
  rows = _fuzz(spec, rng, 300)
  batch = safety_limits.limit_batch(spec, **rows, period_s=_DT)
  for i in range(300):
    row = {name: value[i] for name, value in rows.items()}
    one = safety_limits.limit(
      spec,
      row['command'],
      reading=Reading(row['position'], row['velocity'], row['observed']),
      previous=row['previous'],
      now=row['now'],
      obs_time=row['obs_time'],
      period_s=_DT,
    )
    assert (one.command is None) == (batch.hold[i] != Hold.NO)
    assert (one.verdict == '') == (batch.hold[i] == Hold.NO)
    np.testing.assert_array_equal(one.changed, batch.changed[i])
    if one.command is not None:
      np.testing.assert_allclose(one.command, batch.command[i], atol=1e-12)


def test_a_stow_pose_outside_its_box_is_refused():
  spec = make_arm_spec()
  safety_limits.check(spec)
  chain = dataclasses.replace(spec.chains[0], high=(0.3, 0.2, 0.4))
  with pytest.raises(ValueError, match='stow must keep the tip of c .* 50 mm'):
    safety_limits.check(dataclasses.replace(spec, chains=(chain,)))


def test_an_entry_that_two_limits_bring_back_is_not_marked():
  """Random commands near the limits of a chain, whole and in one batch."""
  spec, rng, size = make_arm_spec(), np.random.default_rng(3), 20_000
  low, high = np.array(spec.joint_low), np.array(spec.joint_high)
  pose = rng.uniform(low, high, (size, 4))
  step = np.array(spec.max_step)
  command = np.clip(pose + rng.uniform(-2, 2, (size, 4)) * step, low, high)
  times = np.zeros(size)
  batch = safety_limits.limit_batch(
    spec, command=command, position=pose, velocity=0.0 * pose, previous=pose,
    observed=times, now=times, obs_time=times, period_s=0.02,
  )  # fmt: skip
  sent = batch.hold == safety_limits.Hold.NO
  same = (batch.command == command) & sent[:, None]
  assert 0 < same.sum() < size * 4
  assert not batch.changed[same].any()
  assert batch.changed[~same & sent[:, None]].all()
