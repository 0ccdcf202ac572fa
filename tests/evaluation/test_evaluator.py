import numpy as np
import pytest

from rlt_jax.evaluation import evaluator
from rlt_jax.training.config import PracticeConfig


def test_groups_cover_every_row_once():
  sizes = evaluator.Sizes(8, 40)
  for count in (1, 7, 8, 16, 17, 40, 55, 100):
    live = np.arange(count) * 3
    groups = evaluator._groups(live, sizes)
    assert {len(g) for g in groups} <= {8, 40}
    seen = np.concatenate([g[: len(np.unique(g))] for g in groups])
    np.testing.assert_array_equal(seen, live)


@pytest.mark.parametrize(
  ('changes', 'rule'),
  [
    ({'replay_stride': 3}, 'replay_stride must divide'),
    (
      {'inference_delay': 3},
      'multiple of replay_stride 2 below chunk_size 10: 3',
    ),
    ({'inference_delay': 10}, 'of replay_stride 2 below chunk_size 10: 10'),
    ({'open_loop_steps': 25}, 'open_loop_steps must be a multiple'),
    ({'learning_starts': 1}, 'learning_starts must be at least'),
    ({'vla_warmup_steps': 100}, 'vla_warmup_steps must leave'),
    ({'token_ablation': 'magic'}, 'token_ablation must be one of'),
    ({'eval_at_minutes': (0.0,)}, 'eval_at_minutes must be positive'),
    ({'num_envs': 0}, 'num_envs must be at least 1: 0'),
    ({'replay_stride': 0}, 'replay_stride must be at least 1: 0'),
    ({'num_final_episodes': -1}, 'num_final_episodes must be at least 1: -1'),
    ({'num_eval_videos': -1}, 'num_eval_videos must not be negative: -1'),
    ({'gamma': 0.0}, r'gamma must lie in \(0, 1\]: 0.0'),
  ],
)
def test_settings_that_cannot_work_are_refused(changes, rule):
  with pytest.raises(ValueError, match=rule):
    PracticeConfig(**changes)
