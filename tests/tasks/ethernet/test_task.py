import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim import physics
from rlt_jax.sim import two_arm_bench as bench
from rlt_jax.sim.compilation import jit
from rlt_jax.tasks.bench_config import max_reach
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome
from rlt_jax.tasks.insertion import measures

_WORLDS = 20
_STEPS = 40
# What each world of `episodes` is about; the others hold still in the air.
_SEATED, _BESIDE, _SHALLOW, _DROP, _OTHER_HAND, _PRESSED = range(6)
_LATE, _LATE_SEATED, _GREEDY, _LOST = range(6, 10)
_BELOW, _NOT_THROUGH_THE_MOUTH = range(10, 12)
_RIGHT_GRIPPER = bench.JOINTS.index('right_gripper')
_LEFT_GRIPPER = bench.JOINTS.index('left_gripper')


@pytest.fixture(scope='module')
def draws(reset):
  """State [80], as numpy: starts of many episodes."""
  keys = jax.random.split(jax.random.PRNGKey(3), 4 * _WORLDS)
  parts = [reset(part) for part in keys.reshape(4, _WORLDS, -1)]
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


@pytest.fixture(scope='module')
def draw_tips(draws, tip_in_socket):
  parts = [
    tip_in_socket(jax.tree.map(lambda x: x[i : i + _WORLDS], draws))  # noqa: B023
    for i in range(0, len(draws.friction), _WORLDS)
  ]
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


@pytest.fixture(scope='module')
def begin(starts, place):
  """State [20] that the roles above begin in."""
  zeros = np.zeros((_WORLDS, 3), np.float32)
  offset = zeros.copy()
  offset[:, 2] = 0.015
  offset[[_SEATED, _LATE_SEATED], 2] = -0.0115
  offset[_BESIDE] = 0.03, 0.0, -0.0115
  offset[_SHALLOW, 2] = -0.0105
  offset[_PRESSED] = 0.006, 0.0, -0.0045  # this deep in the face
  offset[_BELOW, 2] = -0.036
  offset[_NOT_THROUGH_THE_MOUTH, 2] = -0.0115
  entered = np.zeros(_WORLDS, bool)
  entered[[_SEATED, _LATE_SEATED, _BELOW]] = True
  entered[[_BESIDE, _SHALLOW]] = True
  steps = np.zeros(_WORLDS, np.int32)
  steps[[_LATE, _LATE_SEATED]] = EthernetConfig().time_limit - 1
  return place(
    starts.replace(
      socket_rot=zeros,
      steps=jnp.asarray(steps),
      entered=jnp.asarray(entered),
    ),
    offset,
    zeros,
  )


@pytest.fixture(scope='module')
def wanted(begin):
  """Commands [20, A] of the roles."""
  command = np.array(begin.command)
  command[_DROP, _RIGHT_GRIPPER] = 0.02
  command[_OTHER_HAND, _LEFT_GRIPPER] = 0.02
  command[_GREEDY] = 10.0
  command[_LOST] = np.nan
  return command


@pytest.fixture(scope='module')
def episodes(begin, wanted, step):
  """A list of State [20], before and after each of the steps."""
  states = [begin]
  for _ in range(_STEPS):
    states.append(step(states[-1], jnp.asarray(wanted)))
  return [jax.tree.map(np.asarray, state) for state in states]


def test_reset_draws_within_the_tasks_ranges(draws):
  shift = (draws.socket_pos - scene_lib.MOUTH_HOME) * 1e3
  spans = [
    (shift[:, 0], 5.0),
    (shift[:, 1], 5.0),
    (shift[:, 2], 1.0),
    *((x, 3.0) for x in np.rad2deg(draws.socket_rot).T),
    *((x, 1.0) for x in draws.grasp_pos.T * 1e3),
    *((x, 2.0) for x in np.rad2deg(draws.grasp_rot).T),
  ]
  for values, size in spans:
    assert np.abs(values).max() <= size * (1 + 1e-4)
    # 80 uniform draws that stay in the inner 80 % mean a wrong range.
    assert np.abs(values).max() > 0.8 * size
  assert draws.friction.min() >= 0.2 and draws.friction.max() <= 0.5


def test_reset_leaves_a_free_plug_at_a_known_distance(draws, draw_tips):
  distance = np.linalg.norm(
    np.column_stack([draw_tips.lateral, draw_tips.depth]), axis=1
  )
  assert 0.010 <= distance.min() and distance.max() <= 0.025
  assert (draw_tips.depth < 0).all()
  assert np.isfinite(draws.qpos).all() and not draws.qvel.any()
  assert (draws.outcome == EthernetOutcome.RUNNING).all()


def test_where_the_arm_starts_does_not_tell_where_the_socket_is(draws):
  arms = draws.qpos[:, :6]
  for i in (0, 1):
    place = draws.socket_pos[:, i]
    against = [abs(np.corrcoef(arm, place)[0, 1]) for arm in arms.T]
    assert max(against) < 0.4  # chance of a larger one by luck: 1 in 4000


def test_the_same_key_gives_the_same_state(reset, starts):
  keys = jax.random.split(jax.random.PRNGKey(7), _WORLDS)
  jax.tree.map(np.testing.assert_array_equal, reset(keys), starts)
  other = reset(jax.random.split(jax.random.PRNGKey(8), _WORLDS))
  assert (np.asarray(other.socket_pos) != starts.socket_pos).all()


def test_a_step_is_a_function_of_the_state(begin, wanted, step, episodes):
  again = step(begin, jnp.asarray(wanted))
  jax.tree.map(np.testing.assert_array_equal, again, episodes[1])


def test_the_executed_command_is_limited_and_stored(begin, episodes, scene):
  measured = np.asarray(measures.joint_positions(begin))[_GREEDY]
  # Ten radians in every joint, shortened arm by arm to the tightest reach.
  moved = (episodes[1].command[_GREEDY] - measured).reshape(2, 7)
  reach = max_reach(EthernetConfig()).reshape(2, 7)
  np.testing.assert_allclose(moved[:, :6].max(axis=1), reach[:, 0], rtol=1e-2)
  assert (moved[:, :6] > 0.9 * reach[0, 0]).all(), 'still the same way'
  np.testing.assert_allclose(moved[:, 6], reach[:, 6], rtol=1e-6)
  np.testing.assert_array_equal(
    episodes[1].command[_SHALLOW], begin.command[_SHALLOW]
  )


def test_the_right_tip_depth_is_success(episodes):
  assert episodes[1].outcome[_SEATED] == EthernetOutcome.SUCCESS
  assert episodes[1].reward[_SEATED] == 1.0
  assert episodes[1].steps[_SEATED] == 1


@pytest.mark.parametrize('role', [_BESIDE, _SHALLOW], ids=['beside', 'shallow'])
def test_any_other_place_is_not(role, episodes, tip_in_socket):
  assert all(
    state.outcome[role] == EthernetOutcome.RUNNING for state in episodes
  )
  assert not any(state.reward[role] for state in episodes)
  assert episodes[1].entered[role] == (role == _SHALLOW)
  tip = tip_in_socket(episodes[-1])
  expected = 0.0105 if role == _SHALLOW else 0.0115
  np.testing.assert_allclose(tip.depth[role], expected, atol=3e-4)


@pytest.mark.parametrize(
  'role',
  [_BELOW, _NOT_THROUGH_THE_MOUTH],
  ids=['below', 'not through the mouth'],
)
def test_the_depth_alone_is_not_success(role, episodes):
  for state in episodes:
    assert state.outcome[role] != EthernetOutcome.SUCCESS
    assert state.reward[role] == 0.0


def test_opening_the_right_gripper_drops_the_plug(episodes):
  final = episodes[-1]
  assert final.outcome[_DROP] == EthernetOutcome.DROP
  opening = measures.joint_positions(final)[_DROP, _RIGHT_GRIPPER]
  assert opening > EthernetConfig().drop_opening_mm * 1e-3
  assert final.reward[_DROP] == 0.0
  assert final.outcome[_OTHER_HAND] == EthernetOutcome.RUNNING


def test_pressing_too_hard_ends_the_episode(episodes):
  final = episodes[-1]
  assert final.outcome[_PRESSED] == EthernetOutcome.FORCE_LIMIT
  assert final.force[_PRESSED] > EthernetConfig().force_limit
  before = episodes[int(final.steps[_PRESSED]) - 1]
  assert before.force[_PRESSED] <= EthernetConfig().force_limit


@pytest.mark.parametrize(
  'torque, outcome',
  [(0.0, EthernetOutcome.SUCCESS), (1e3, EthernetOutcome.FORCE_LIMIT)],
)
def test_a_plug_that_is_rammed_home_is_no_success(
  begin, monkeypatch, torque, outcome
):
  def engine(state, actuators):
    del actuators
    torques = jnp.full((1, 6), torque)
    return physics.PhysicsOutput(
      state.qpos, state.qvel, state.warmstart, torques
    )

  monkeypatch.setattr(physics, 'make', lambda *_: engine)
  seated = jax.tree.map(lambda x: x[_SEATED], begin)
  after = jit(task_lib.make().step)(seated, seated.command)
  assert (after.force > EthernetConfig().force_limit) == (torque > 0.0)
  assert after.outcome == outcome
  assert after.reward == (outcome == EthernetOutcome.SUCCESS)


def test_a_world_that_is_no_longer_finite_ends(episodes):
  assert episodes[1].outcome[_LOST] == EthernetOutcome.FORCE_LIMIT
  assert episodes[1].reward[_LOST] == 0.0


def test_the_time_limit_is_the_last_thing_that_ends(episodes):
  assert episodes[0].outcome[_LATE] == EthernetOutcome.RUNNING
  assert episodes[1].outcome[_LATE] == EthernetOutcome.TIME_OUT
  assert episodes[1].steps[_LATE] == EthernetConfig().time_limit
  assert episodes[1].outcome[_LATE_SEATED] == EthernetOutcome.SUCCESS


@pytest.mark.parametrize(
  'role', [_SEATED, _DROP, _PRESSED, _LATE], ids=['success', 'drop', 'force',
                                                'time-out']
)  # fmt: skip
def test_an_ended_world_stays_frozen_without_reward(role, episodes):
  ended = next(
    i
    for i, s in enumerate(episodes)
    if s.outcome[role] != EthernetOutcome.RUNNING
  )
  assert ended < len(episodes) - 1
  first = jax.tree.map(lambda x: x[role], episodes[ended])
  last = jax.tree.map(lambda x: x[role], episodes[-1])
  assert last.reward == 0.0
  jax.tree.map(
    np.testing.assert_array_equal, last, first.replace(reward=last.reward)
  )


def test_proprioception_is_positions_then_velocities(task, episodes):
  state = episodes[5]
  seen = np.asarray(task.proprio(state))
  assert seen.shape == (_WORLDS, bench.PROPRIO_DIM)
  np.testing.assert_array_equal(seen[_DROP, :6], state.qpos[_DROP, :6])
  fingers = state.qvel[_DROP, 6:8]
  assert fingers.min() > 0
  np.testing.assert_allclose(
    seen[_DROP, 14 + _RIGHT_GRIPPER], fingers.mean(), rtol=1e-6
  )


@pytest.mark.parametrize('timestep, substeps', [(0.004, 4), (0.005, 5)])
def test_the_control_period_is_fixed(timestep, substeps):
  with pytest.raises(ValueError, match=r'substeps must be 0.02 s: 0.0'):
    EthernetConfig(timestep=timestep, substeps=substeps)


def test_an_unknown_clearance_is_refused():
  with pytest.raises(ValueError, match='clearance_mm must be one of .* 0.2'):
    task_lib.make(EthernetConfig(clearance_mm=0.2))


def test_a_tasks_name_and_walls_carry_its_clearance():
  config = EthernetConfig(clearance_mm=0.05)
  assert config.name == 'ethernet-0.05mm'
  model = scene_lib.load(config).mj_model
  half = model.geom('plug').size[:2][::-1]  # The arm is turned by 90 degrees.
  for axis, name in enumerate(('wall_xp', 'wall_yp')):
    wall = model.geom(name)
    inner = wall.pos[axis] - wall.size[axis]
    np.testing.assert_allclose(inner - half[axis], 5e-5, atol=1e-9)
    for end in 'pn':
      rim = model.geom(f'{name.replace("wall", "rim")}_{end}')
      edge = rim.pos[axis] - rim.size[0]
      np.testing.assert_allclose(edge, inner, atol=1e-9)
