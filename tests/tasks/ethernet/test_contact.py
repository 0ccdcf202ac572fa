"""Contacts under C MuJoCo: their stiffness does not depend on the timestep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.sim import kinematics
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome

# A straight plug over a straight socket, so that four corners touch the floor.
_STRAIGHT = {
  'socket_shift_mm': 0.0,
  'socket_turn_deg': 0.0,
  'grasp_shift_mm': 0.0,
  'grasp_turn_deg': 0.0,
  'start_shift_mm': 0.0,
  'start_turn_deg': 0.0,
}
_DEPTH = scene_lib.SOCKET_DEPTH


@pytest.fixture(scope='module')
def start():
  task = task_lib.make(EthernetConfig(**_STRAIGHT))
  reset = task.compile(task.reset)
  return jax.tree.map(np.asarray, reset(jax.random.PRNGKey(0)))


@pytest.fixture(scope='module')
def solve(start):
  chain = scene_lib.load().right

  @jax.jit
  def solve(arm, position):
    return kinematics.solve_tip(
      chain,
      arm,
      start.grasp_pos,
      start.grasp_rot,
      position,
      jnp.asarray(chain.base_mat),
      iterations=2,
    )

  return solve


def _press(start, solve, ahead, timestep=0.004, time_constant=0.008):
  """Presses on the floor until it rests; returns force, N, and overlap, m."""
  config = EthernetConfig(
    timestep=timestep,
    substeps=round(0.02 / timestep),
    contact_time_constant=time_constant,
    **_STRAIGHT,
  )
  bench = task_lib.make(config).make_bench()
  bench.place(start)
  bottom = start.socket_pos - np.float32([0, 0, _DEPTH])
  for height in (*np.linspace(0.022, -ahead, 60), *np.full(40, -ahead)):
    # Success would end the episode; contact is what is looked at.
    bench.place(
      jax.tree.map(lambda x: x[0], bench.world()).replace(
        outcome=np.int32(EthernetOutcome.RUNNING)
      )
    )
    targets = np.zeros(14)
    targets[:6] = solve(
      np.float32(bench.positions()[:6]), bottom + np.float32([0, 0, height])
    )
    bench.set_targets(targets)
    for _ in range(config.substeps):
      bench.step()
  return float(bench.world().force[0]), bench.overlap()


def test_a_plug_on_the_floor_is_a_spring_of_9000_n_per_mm(start, solve):
  forces, overlaps = zip(
    *(_press(start, solve, ahead) for ahead in (0.002, 0.006)), strict=True
  )
  stiffness = np.array(forces) / np.array(overlaps) * 1e-3  # N/mm
  np.testing.assert_allclose(stiffness, 9000, rtol=0.05)
  # The largest command at rest is far below the force limit.
  assert 15 < forces[1] < 30


def test_stiffness_does_not_depend_on_the_timestep(start, solve):
  force, overlap = _press(start, solve, 0.004)
  fine = _press(start, solve, 0.004, timestep=0.001)
  np.testing.assert_allclose(fine, (force, overlap), rtol=0.02)


def test_stiffness_follows_the_time_constant(start, solve):
  _, overlap = _press(start, solve, 0.004, timestep=0.001)
  _, hard = _press(start, solve, 0.004, timestep=0.001, time_constant=0.004)
  assert hard == pytest.approx(overlap / 4, rel=0.05)
