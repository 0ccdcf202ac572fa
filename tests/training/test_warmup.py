"""How long the VLA drives before the agent does."""

import dataclasses

import numpy as np
import pytest

from rlt_jax.rollout import chunk_rollout
from rlt_jax.tasks.task import TaskConfig
from rlt_jax.training import loop
from rlt_jax.training.config import PracticeConfig
from rlt_jax.types import Outcome
from tests.envs import point_task
from tests.training import test_divergence

_CONFIG = PracticeConfig(
  num_env_steps=45_000, vla_warmup_steps=6_000, vla_warmup_successes=2
)


def _outcomes(successes, failures=3):
  ended = [Outcome.SUCCESS] * successes + [Outcome.TIME_OUT] * failures
  return loop.append(np.full(loop.HISTORY, -1, np.int32), np.array(ended))


@pytest.mark.parametrize(
  'steps, successes, expected',
  [
    (5_999, 9, True),
    (6_000, 9, False),
    (6_000, 2, False),
    (6_000, 1, True),
    (17_999, 1, True),
    (18_000, 0, False),
  ],
)
def test_it_ends_by_steps_and_successes(steps, successes, expected):
  assert loop.in_warmup(_CONFIG, steps, _outcomes(successes)) == expected


def test_each_seed_of_a_sweep_has_its_own():
  outcome = np.stack([_outcomes(0), _outcomes(2)])
  found = loop.in_warmup(_CONFIG, np.array([6_000, 6_000]), outcome)
  assert found.tolist() == [True, False]
  steps_alone = dataclasses.replace(_CONFIG, vla_warmup_successes=0)
  found = loop.in_warmup(steps_alone, np.array([5_999, 6_000]), outcome)
  assert found.tolist() == [True, False]


def test_a_vla_that_never_succeeds_drives_three_times_as_long():
  config = dataclasses.replace(
    test_divergence.CONFIG, num_env_steps=760, vla_warmup_successes=1
  )
  rollout = chunk_rollout.make(point_task.make(TaskConfig(time_limit=200)))
  perception, agent = test_divergence.make_parts()
  practice = loop.Practice(rollout, perception, agent, config)
  phases = []
  practice.run(
    practice.init(),
    config.num_env_steps,
    lambda state, metrics: phases.append((state.env_steps, metrics['phase'])),
  )
  first = min(steps for steps, phase in phases if phase == 'practice')
  # The round that ends past three times 200 steps is the last of the VLA.
  assert 600 < first <= 600 + 2 * config.num_envs * config.chunk_size
