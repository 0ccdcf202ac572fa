"""Settings of fine-tuning that do not fit are refused by name."""

import dataclasses

import pytest

from rlt_jax.finetuning import parts
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.rollout.human_config import HumanConfig
from rlt_jax.training.config import PracticeConfig

_VLA = FinetuneConfig(driver='vla', kept='corrections', rounds=3)
_HELPED = PracticeConfig(human=HumanConfig(help_minutes=1.5))


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'driver': 'person'}, "driver must be one of .*: 'person'"),
    ({'kept': 'all'}, "kept must be one of .*: 'all'"),
    ({'steps': 0}, 'steps must be at least 1: 0'),
    ({'rounds': 0}, 'rounds must be at least 1: 0'),
    ({'demo_share': 1.0}, r'demo_share must lie in \(0, 1\): 1.0'),
    ({'least': 1}, 'least must be at least 2: 1'),
    ({'demos': 100}, 'demos must be a multiple of 64, or fewer: 100'),
    ({'driver': 'agent'}, "rounds must be 1 with the driver 'agent'.*: 3"),
  ],
)
def test_methods_that_do_not_fit_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(_VLA, **changes)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'vla': 'ws://host:8000'}, "weights of a pi_small VLA .*'ws://host"),
    ({'vla': 'openpi:a:b'}, "weights of a pi_small VLA .*'openpi:a:b'"),
    ({'reference_fault': 'bias'}, "reference_fault must be 'none'.*'bias'"),
    ({'token_ablation': 'zeros'}, "token_ablation must be 'none'.*'zeros'"),
    ({'inference_delay': 2}, 'inference_delay must be 0 .*: 2'),
    (
      {'human': HumanConfig()},
      "above 0 to learn from 'corrections'.*: 0.0 with",
    ),
    (
      {'human': HumanConfig(help_minutes=1.0, demo_steps=500)},
      'demo_steps must be 0 where the VLA drives.*: 500',
    ),
  ],
)
def test_rows_that_do_not_fit_are_refused(changes, message):
  parts.check_settings(_HELPED, _VLA)
  with pytest.raises(ValueError, match=message):
    parts.check_settings(dataclasses.replace(_HELPED, **changes), _VLA)


def test_successes_are_those_of_nobody_who_is_helped():
  alone = FinetuneConfig(driver='vla', kept='successes')
  parts.check_settings(PracticeConfig(), alone)
  with pytest.raises(ValueError, match="0 to learn from 'successes', .*: 1.5"):
    parts.check_settings(_HELPED, alone)


def test_rounds_share_the_time_of_robot_and_person():
  one = parts.of_one_round(_HELPED, 3)
  assert (one.num_env_steps, one.human.help_minutes) == (15_000, 0.5)
  assert parts.of_one_round(_HELPED, 1) == _HELPED
