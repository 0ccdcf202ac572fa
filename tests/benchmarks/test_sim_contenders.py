import os

import jax
import jax.numpy as jnp
import mujoco
from mujoco import mjx
import numpy as np
import pytest

from benchmarks import sim_contenders, sim_throughput, timing
from benchmarks.peers import playground_peg
from rlt_jax import sharding


def test_more_worlds_than_memory_are_refused_with_the_estimate():
  fit = int(sim_contenders.available_bytes() / 2**20)
  sim_contenders.check_memory(fit // 2, 2.0**20)
  with pytest.raises(ValueError, match=r'GiB, more than .* at most \d+'):
    sim_contenders.check_memory(2**21, 2.0**20)


def test_contenders_take_turns_and_first_calls_are_apart():
  calls = []
  contenders = [
    timing.Contender(name, 3, lambda name=name: calls.append(name))
    for name in 'ab'
  ]
  timed = timing.interleave(contenders, rounds=2)
  assert ''.join(calls) == 'aabb' + 'abab'
  assert timed['a'].rates.shape == (2,) and timed['a'].first_s >= 0.0
  assert timed['b'].spread[0] <= timed['b'].median <= timed['b'].spread[1]


def test_memory_a_world_is_that_of_the_largest_program():
  worlds = sim_contenders._CHECK
  small, large = jnp.zeros((worlds, 4)), jnp.zeros((worlds, 1024))
  double = jax.jit(lambda x: 2 * x)
  found = sim_contenders.bytes_per_world(
    double.lower(x) for x in (small, large)
  )
  assert found == 2 * 1024 * 4  # in and out
  assert sim_contenders.bytes_per_world(iter(())) == 0


def test_rates_are_a_control_step_and_a_simulated_second(capsys):
  row = f'{playground_peg.LABEL}, 8 worlds'
  timed = {
    'physics, 8 worlds': timing.Timed(np.array([40.0, 50.0, 60.0]), 2.0),
    'c, 8 worlds': timing.Timed(np.array([500.0]), 0.1),
    row: timing.Timed(np.array([5.0]), 3.0),
  }
  ours = sim_contenders.report('physics', 8, timed, 2.0**15)
  assert ours['value'] == pytest.approx(50 * 50)
  assert ours['simulated_s_per_s'] == 50.0
  assert ours['ratio_to_best_peer'] == pytest.approx(0.1)
  assert ours['worlds_that_fit'] > 1000
  peer = sim_contenders.report('playground', 8, timed, 0.0)
  assert peer['name'] == row and peer['value'] == pytest.approx(400 * 5)
  assert peer['ratio_to_best_peer'] is None
  assert '2,500' in capsys.readouterr().out


def test_the_rows_of_another_task_are_named_and_compared_with_its_own(capsys):
  timed = {
    'physics, 8 worlds': timing.Timed(np.array([1.0]), 2.0),
    'zip_tie: physics, 8 worlds': timing.Timed(np.array([4.0]), 2.0),
    'zip_tie: c, 8 worlds': timing.Timed(np.array([8.0]), 0.1),
    'c, 8 worlds': timing.Timed(np.array([100.0]), 0.1),
  }
  row = sim_contenders.report('physics', 8, timed, 0.0, 'zip_tie')
  assert row['name'] == 'zip_tie: physics, 8 worlds'
  assert row['value'] == pytest.approx(50 * 4)
  assert row['ratio_to_best_peer'] == pytest.approx(0.5)
  assert 'zip_tie: physics' in capsys.readouterr().out


def test_every_task_has_rows_of_its_own():
  cases = sim_throughput.choose_cases(
    ['physics', 'vla', 'c'], ['ethernet', 'screw'], [8, 64]
  )
  assert [tuple(case) for case in cases if case.worlds == 8] == [
    ('physics', 8, 'ethernet'),
    ('physics', 8, 'screw'),
    ('vla', 8, 'ethernet'),
    ('c', 8, 'ethernet'),
    ('c', 8, 'screw'),
  ]
  assert len(cases) == 10


@pytest.mark.parametrize(
  ('names', 'kinds', 'rule'),
  [
    (['ethernet', 'bolt'], ['physics'], '--tasks must list'),
    ([], ['physics'], '--tasks must list'),
    (['screw'], ['vla'], 'which --tasks must have'),
    (['screw'], ['vlas'], '--with must list'),
  ],
)
def test_unknown_rows_and_tasks_are_refused(names, kinds, rule):
  with pytest.raises(ValueError, match=rule):
    sim_throughput.choose_cases(kinds, names, [8])


def test_the_playground_peer_has_that_tasks_sizes():
  model = playground_peg.model()
  assert (model.nq, model.nv, model.nu) == (30, 28, 14)
  assert model.opt.timestep == playground_peg.CONTROL_S
  assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
  assert (model.opt.iterations, model.opt.ls_iterations) == (10, 10)
  data = mjx.make_data(mjx.put_model(model, impl='jax'), impl='jax')
  # 24 of four dimensions (boxes), 20 of three (the table under the arms).
  assert data._impl.contact.dist.shape == (44,)
  assert data._impl.efc_J.shape == (246, 28)


@pytest.fixture(scope='module')
def peer():
  """The program that is timed, of three steps, and its start."""
  return playground_peg.make(worlds=2, steps=3)


def test_the_playground_peers_peg_and_socket_lie_on_the_table(peer):
  model = playground_peg.model()
  data = mujoco.MjData(model)
  mujoco.mj_step(model, data, nstep=200)
  for name, half in (('peg', 0.01), ('socket', 0.022)):
    assert data.body(name).xpos[2] == pytest.approx(half, abs=1e-3)
  # Three steps leave both where they stood.
  run, start = peer
  end = np.asarray(run(start))
  assert end.shape == (2, 30) and np.isfinite(end).all()
  np.testing.assert_allclose(end, start, atol=5e-3)
  for name, half in (('peg', 0.01), ('socket', 0.022)):
    row = model.jnt_qposadr[model.body(name).jntadr[0]]
    np.testing.assert_allclose(start[:, row + 2], half, atol=1e-3)


@pytest.mark.skipif(
  'RLT_JAX_SLOW' not in os.environ,
  reason='RLT_JAX_SLOW=1 runs it: half a minute to compile',
)
def test_the_playground_peer_runs_on_a_mesh(peer):
  run, start = playground_peg.make(2, 3, sharding.make_mesh(1))
  end = np.asarray(run(start))
  alone, _ = peer
  np.testing.assert_allclose(end, alone(start), atol=1e-6)


def test_c_mujoco_steps_the_scene_of_the_task():
  contender = sim_contenders.Bench().make('c', 2)
  states, _ = contender.call()
  assert contender.work == pytest.approx(2 * 0.2)
  assert states.shape[:2] == (2, 50) and np.isfinite(states).all()
