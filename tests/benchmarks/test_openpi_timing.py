import dataclasses

from benchmarks import openpi_timing
from rlt_jax.vlas.openpi import config as config_lib
from tests.vlas.openpi import models


def test_a_query_is_timed_with_random_weights():
  config = models.bench_config('pi05')
  params = openpi_timing.random_params(config.model)
  found = openpi_timing.measure(config, params, rows=2, queries=3)
  assert 0.0 < found['p50_ms'] <= found['p99_ms'] <= found['worst_ms']
  assert found['rows'] == 2 and found['first_s'] > 0.0


def test_the_tiny_model_has_the_structure_of_the_full_one():
  config = config_lib.load('pi05_aloha').model
  tiny = openpi_timing.shrink(config)
  assert tiny.tower.tokens == config.tower.tokens == 256
  changed = dataclasses.replace(
    tiny, tower=config.tower, prefix=config.prefix, expert=config.expert
  )
  assert dataclasses.replace(changed, vocabulary=257_152) == config
