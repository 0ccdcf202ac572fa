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
    ({'stride': 3}, 'stride must divide'),
    ({'delay': 3}, 'delay must be a multiple of stride 2 below chunk 10: 3'),
    ({'delay': 10}, 'delay must be a multiple of stride 2 below chunk 10: 10'),
    ({'base_horizon': 25}, 'base_horizon must be a multiple'),
    ({'first_update_rows': 1}, 'first_update_rows must be at least'),
    ({'warmup_steps': 100}, 'warmup_steps must leave'),
    ({'z_source': 'magic'}, 'z_source must be one of'),
    ({'eval_minutes': (99.0,)}, 'eval_minutes must lie in'),
    ({'robots': 0}, 'robots must be at least 1: 0'),
    ({'stride': 0}, 'stride must be at least 1: 0'),
    ({'final_episodes': -1}, 'final_episodes must be at least 1: -1'),
    ({'film_pairs': -1}, 'film_pairs must not be negative: -1'),
    ({'gamma': 0.0}, r'gamma must lie in \(0, 1\]: 0.0'),
  ],
)
def test_settings_that_cannot_work_are_refused(changes, rule):
  with pytest.raises(ValueError, match=rule):
    PracticeConfig(**changes)
