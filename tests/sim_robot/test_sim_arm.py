import dataclasses
import pathlib

import mujoco
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.robot import arm, arms
from rlt_jax.robot.control import kinematics
from rlt_jax.sim import action_space
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim_robot.sim_arm import SimArm
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.insertion.state import State

_SPEC = arm.load_spec(pathlib.Path(arms.__file__).parent / 'specs' / 'sim.json')
_PERIOD = 0.02  # s
_HOME = np.zeros(bench.ACTION_DIM)
_ABOVE = 0.002  # m, where a push starts
_SPEED = 0.015  # m/s


class FakeClock:
  def __init__(self):
    self.time = 50.0

  def now(self):
    return self.time


@pytest.fixture
def clock():
  return FakeClock()


@pytest.fixture
def sim_arm(clock):
  sim_arm = SimArm(_SPEC, tasks.load('ethernet'), clock=clock)
  sim_arm.connect()
  return sim_arm


@pytest.fixture(scope='module')
def model():
  return scene_lib.load().mj_model


def tip(model, data):
  plug = model.body('plug').id
  mujoco.mj_kinematics(model, data)
  mujoco.mj_comPos(model, data)
  return data.xpos[plug] - scene_lib.PLUG_LENGTH * data.xmat[plug][2::3]


def joints_at(model, target):
  """Returns joints [A] with the tip at target [3], upright, by Newton steps."""
  data, plug = mujoco.MjData(model), model.body('plug').id
  tip(model, data)
  upright, error = data.xquat[plug].copy(), np.zeros(6)
  for _ in range(8):
    jacobian = np.zeros((2, 3, model.nv))
    error[:3] = target - tip(model, data)
    turn = np.zeros(3)
    mujoco.mju_subQuat(turn, upright, data.xquat[plug])
    error[3:] = data.xmat[plug].reshape(3, 3) @ turn
    mujoco.mj_jac(model, data, *jacobian, tip(model, data), plug)
    step = np.linalg.solve(jacobian.reshape(6, -1)[:, :6], error)
    data.qpos[:6] += step
  return bench.to_joints(data.qpos.copy())


def world(joints, **changes):
  zeros = np.zeros(3)
  fields = {
    'qpos': bench.to_actuators(joints),
    'qvel': np.zeros(16),
    'warmstart': np.zeros(16),
    'command': joints,
    'grasp_pos': zeros,
    'grasp_rot': zeros,
    'socket_pos': scene_lib.MOUTH_HOME,
    'socket_rot': zeros,
    'entered': np.bool_(False),
    'friction': np.float64(0.3),
    'steps': np.int32(0),
    'outcome': np.int32(EthernetOutcome.RUNNING),
    'reward': np.float64(0.0),
    'force': np.float64(0.0),
  }
  return State(**(fields | changes))


def push(sim_arm, clock, model, offset, ticks=70):
  """Pushes down from above the mouth, `offset` [2] m beside its middle."""
  top = scene_lib.MOUTH_HOME + [*offset, _ABOVE]
  sim_arm.place(world(joints_at(model, top)))
  for tick in range(ticks):
    down = min((tick + 1) * _PERIOD * _SPEED, _ABOVE + 0.013)
    sim_arm.command(joints_at(model, top - [0.0, 0.0, down]))
    clock.time += _PERIOD


def test_the_arms_file_has_the_scenes_limits(model):
  low, high = (bench.to_joints(x) for x in model.jnt_range.T)
  np.testing.assert_allclose(_SPEC.joint_low, low)
  np.testing.assert_allclose(_SPEC.joint_high, high)
  reach = max_reach(EthernetConfig())
  np.testing.assert_allclose(_SPEC.max_step, reach, rtol=1e-6)


def test_the_arms_file_has_the_scenes_chains(model):
  rng, data = np.random.default_rng(0), mujoco.MjData(model)
  for _ in range(5):
    joints = rng.uniform(-1.0, 1.0, bench.ACTION_DIM)
    data.qpos[:] = bench.to_actuators(joints)
    right = tip(model, data)
    left = data.body('left_hand')
    left = left.xpos + left.xmat.reshape(3, 3) @ [0, 0, -0.118]
    for chain, start, expected in zip(
      _SPEC.chains, (0, 7), (right, left), strict=True
    ):
      found = kinematics.tip_position(chain, joints[start : start + 6])
      np.testing.assert_allclose(found, expected, atol=1e-7)


def test_the_physics_follows_the_clock_alone(sim_arm, clock):
  target = _HOME + 0.3 * np.array(_SPEC.max_step)
  sim_arm.command(target)
  before = sim_arm.observe()
  np.testing.assert_equal(sim_arm.observe(), before)
  clock.time += 0.019
  after = sim_arm.observe()
  assert 0.0 <= clock.time - after.time < 0.004 + 1e-9
  assert (after.position > before.position).all()
  assert (after.velocity > 0.0).all()


def test_it_comes_to_rest_at_its_target(sim_arm, clock):
  target = _HOME + 0.9 * np.array(_SPEC.max_step)
  for _ in range(100):
    np.testing.assert_array_equal(sim_arm.command(target), target)
    clock.time += _PERIOD
  np.testing.assert_allclose(sim_arm.observe().position, target, atol=1e-5)


def test_the_limit_on_commands_is_the_tasks(sim_arm, clock):
  rng, scene = np.random.default_rng(1), scene_lib.load()
  reach = max_reach(EthernetConfig())
  for size in (0.5, 3.0, 100.0):
    measured = sim_arm.observe().position
    target = rng.normal(0.0, size, bench.ACTION_DIM) * reach
    expected = action_space.limit_command(
      target, measured, reach, scene.joint_low, scene.joint_high
    )
    np.testing.assert_allclose(sim_arm.command(target), expected, atol=1e-6)
    clock.time += _PERIOD


def test_a_push_from_above_seats_the_plug(sim_arm, clock, model):
  push(sim_arm, clock, model, (0.0002, -0.0002))
  assert sim_arm.success()
  assert sim_arm.outcome() == EthernetOutcome.SUCCESS


def test_a_push_beside_the_mouth_does_not(sim_arm, clock, model):
  push(sim_arm, clock, model, (0.003, 0.0))
  assert not sim_arm.success()
  assert sim_arm.outcome() == EthernetOutcome.RUNNING
  assert sim_arm.world().force[0] < EthernetConfig().force_limit


def test_the_first_end_of_an_episode_stays(sim_arm, clock, model):
  push(sim_arm, clock, model, (0.0, 0.0))
  for _ in range(12):  # past the time limit, and out of the socket
    sim_arm.stow()
    clock.time += 1.0
  assert sim_arm.outcome() == EthernetOutcome.SUCCESS
  while not sim_arm.stow():
    clock.time += _PERIOD
  assert not sim_arm.success()


def test_an_episode_runs_out_of_time(sim_arm, clock):
  sim_arm.place(world(_HOME))
  for _ in range(9):
    clock.time += 1.0
    assert sim_arm.outcome() == EthernetOutcome.RUNNING
  clock.time += 1.0 + _PERIOD
  for _ in range(2):
    clock.time += _PERIOD
    sim_arm.observe()
  assert sim_arm.outcome() == EthernetOutcome.TIME_OUT


def test_an_open_gripper_drops_the_plug(sim_arm, clock):
  target = _HOME.copy()
  for opening in (0.0045, 0.008):
    target[6] = opening
    for _ in range(30):
      sim_arm.command(target)
      clock.time += _PERIOD
  assert sim_arm.outcome() == EthernetOutcome.DROP


def test_too_much_force_ends_an_episode(clock, model):
  gentle = dataclasses.replace(EthernetConfig(), force_limit=5.0)
  sim_arm = SimArm(_SPEC, tasks.load('ethernet', gentle), clock=clock)
  sim_arm.connect()
  push(sim_arm, clock, model, (0.003, 0.0))
  assert sim_arm.outcome() == EthernetOutcome.FORCE_LIMIT


def test_hold_keeps_the_place_of_the_first_call(sim_arm, clock):
  for _ in range(10):
    sim_arm.command(sim_arm.observe().position + 0.5 * np.array(_SPEC.max_step))
    clock.time += _PERIOD
  place = sim_arm.observe().position
  for _ in range(50):
    sim_arm.hold()
    clock.time += _PERIOD
  reading = sim_arm.observe()
  np.testing.assert_allclose(reading.position, place, atol=1e-4)
  np.testing.assert_allclose(reading.velocity, 0.0, atol=1e-4)


def test_stow_goes_home_and_says_so(sim_arm, clock):
  sim_arm.place(world(_HOME + 0.2))
  ticks = 0
  while not sim_arm.stow():
    clock.time += _PERIOD
    ticks += 1
    assert ticks < 200
  # 0.2 rad at a quarter of 2.5 rad/s, and no faster.
  assert ticks * _PERIOD > 0.2 / (0.25 * 2.5)
  away = np.abs(sim_arm.observe().position - _SPEC.stow)
  assert (away <= _SPEC.max_step).all()


def test_disabled_motors_do_nothing_until_connect(sim_arm, clock):
  sim_arm.disable()
  sim_arm.command(_HOME + 0.01)
  clock.time += 0.5
  np.testing.assert_allclose(sim_arm.observe().position, 0.0, atol=1e-9)
  sim_arm.disconnect()
  sim_arm.connect()
  clock.time += 0.5
  assert (sim_arm.observe().position[:6] > 0.005).all()


def test_a_long_pause_is_skipped(sim_arm, clock):
  sim_arm.command(_HOME + 0.01)
  clock.time += 3600.0
  reading = sim_arm.observe()
  assert 0.0 <= clock.time - reading.time < 0.004 + 1e-6
  np.testing.assert_allclose(reading.position[:3], 0.01, atol=1e-3)


def test_the_cameras_see_the_world_that_was_placed(sim_arm, clock):
  placed = world(
    _HOME + 0.01,
    socket_pos=np.array([0.001, 0.002, 0.0605]),
    socket_rot=np.array([0.02, -0.01, 0.03]),
    grasp_pos=np.array([1e-4, 2e-4, 3e-4]),
    grasp_rot=np.array([0.01, 0.0, -0.02]),
    friction=np.float64(0.45),
  )
  sim_arm.place(placed)
  seen = sim_arm.world()
  for name, value in placed.items():
    if value is None:
      assert seen[name] is None
      continue
    np.testing.assert_allclose(seen[name][0], value, rtol=1e-6, err_msg=name)


def test_misuse_is_refused(sim_arm, clock):
  with pytest.raises(ValueError, match='target must be'):
    sim_arm.command(np.full(bench.ACTION_DIM, np.nan))
  sim_arm.disconnect()
  with pytest.raises(ValueError, match=r'connect\(\) must come before'):
    sim_arm.observe()
  other = dataclasses.replace(_SPEC, joint_names=tuple('abcdefghijklmn'))
  with pytest.raises(ValueError, match="joint_names of the arm 'sim' must be"):
    SimArm(other, tasks.load('ethernet'), clock=clock)
