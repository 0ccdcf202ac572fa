import dataclasses

import jax
import jax.numpy as jnp
import pytest

from rlt_jax.rl_token.teacher import VlaTeacher
from rlt_jax.types import Observation
from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi import cost, cost_report, model
from tests.vlas.openpi import models


def test_loops_count_as_often_as_they_run():
  product = jax.jit(lambda x: x @ x)

  def loop(x):
    return jax.lax.scan(lambda x, _: (product(x), None), x, length=3)

  x = jnp.ones((4, 4))
  assert cost.count_flop(loop, x) == 3 * 2 * 4**3
  assert cost.count_flop(lambda x: jnp.einsum('ij,kj->ki', x, x), x) == 128


# TFLOP of tower, prefix and ten steps, by hand from the sizes.
@pytest.mark.parametrize(
  'family, parts, step_gb',
  [('pi0', (0.66, 3.33, 0.386), 0.63), ('pi05', (0.66, 3.97, 0.389), 0.63)],
)
def test_a_full_size_query_costs_what_its_sizes_say(family, parts, step_gb):
  query = cost.measure(config_lib.load(f'{family}_aloha'))
  found = query.tower_flop, query.prefix_flop, query.flow_flop
  assert [x / 1e12 for x in found] == pytest.approx(parts, rel=0.01)
  assert query.step_bytes / 1e9 == pytest.approx(step_gb, rel=0.02)
  assert query.weight_bytes == 2 * query.parameters
  assert query.image_tokens == 768


def test_a_query_runs_tower_and_prefix_once():
  query = cost.measure(models.bench_config('pi05'))
  parts = query.tower_flop + query.prefix_flop + query.flow_flop
  assert parts <= query.query_flop <= 1.05 * parts


def test_the_vla_itself_runs_tower_and_prefix_once():
  """The query above is written apart from what the VLA runs."""
  vla = models.make_vla(models.bench_config('pi05'))
  query = cost.measure(vla.config, rows=2)
  observation, noise = _inputs(vla, 2)
  found = cost.count_flop(vla.apply_with_noise, vla.params, observation, noise)
  parts = query.tower_flop + query.prefix_flop + query.flow_flop
  assert parts <= found <= 1.05 * query.query_flop


def test_a_teachers_query_is_compiled_without_the_flow():
  """Products that are left after XLA has removed what nobody reads."""
  vla = models.make_vla(models.bench_config('pi05'))
  observation, noise = _inputs(vla, 2)

  def prefix(params, observation):
    state = params['norm'].state.normalize(observation.proprio[:, :14])
    inputs = vla.read(params, observation, state)
    return model.run_prefix(params['model'], inputs, vla.config.model).tokens

  def flop(program, *args):  # a loop's body counts once
    return program.lower(*args).compile().cost_analysis()['flops']

  asked = flop(VlaTeacher(vla, rows=2)._query, vla.params, observation)
  whole = flop(jax.jit(vla.apply_with_noise), vla.params, observation, noise)
  alone = flop(jax.jit(prefix), vla.params, observation)
  assert asked == pytest.approx(alone, rel=0.01) and whole > 1.1 * asked


def _inputs(vla, rows):
  """Returns the shapes of observations and noise."""
  spec, shape = vla.spec, jax.ShapeDtypeStruct
  size = (*spec.image_shape(spec.cameras[0]), 3)
  observation = Observation(
    {name: shape((rows, *size), jnp.uint8) for name in spec.cameras},
    shape((rows, spec.proprio_dim), jnp.float32),
    shape((rows, spec.prompt_length), jnp.int32),
  )
  return observation, shape((rows, spec.horizon, spec.action_dim), jnp.float32)


def test_a_slot_without_a_camera_costs_nothing():
  config = models.bench_config('pi05')
  one = dataclasses.replace(config, cameras={'base_0_rgb': 'base'})
  costs = [cost.measure(x, rows=2) for x in (config, one)]
  assert costs[0].tower_flop == pytest.approx(3 * costs[1].tower_flop)
  assert costs[0].tokens - costs[1].tokens == 2 * config.model.tower.tokens


def test_the_report_names_all_parts():
  config = models.bench_config('pi05')
  text = '\n'.join(cost_report.lines(config, 2, compile_it=True))
  for part in ('weights', 'flow steps', 'H200', 'not measured', 'temporaries'):
    assert part in text


def test_the_shortest_time_is_bound_by_memory_for_one_row():
  query = cost.measure(config_lib.load('pi05_aloha'))
  gpu = cost_report.Gpu('any', flop=1e30, rate=1e12)
  read = query.weight_bytes - query.table_bytes + 9 * query.step_bytes
  time = cost_report.shortest_ms(query, gpu, 10)
  assert time == pytest.approx(read / 1e9)
