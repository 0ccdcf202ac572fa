import json

import numpy as np
import pytest

from rlt_jax.reporting import statistics

_OUTCOMES = ('time_out', 'success', 'force_limit', 'drop')


def make(steps, outcome):
  outcome = np.array(outcome)
  return statistics.Episodes(outcome == 1, np.array(steps), outcome)


def test_wilson_matches_published_values():
  # Newcombe (1998), table I, score method without continuity correction.
  for counts, interval in (
    ((81, 263), (0.2553, 0.3662)),
    ((15, 148), (0.0624, 0.1605)),
    ((0, 20), (0.0, 0.1611)),
    ((1, 29), (0.0061, 0.1718)),
  ):
    np.testing.assert_allclose(statistics.wilson(*counts), interval, atol=1e-4)
  # At the ends the interval is one-sided: 1 / (1 + z^2 / n).
  np.testing.assert_allclose(
    statistics.wilson(10, 10), (1 / (1 + 1.96**2 / 10), 1.0), atol=1e-9
  )
  assert statistics.wilson(0, 10)[0] == 0.0


@pytest.mark.parametrize('counts', [(1, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_counts_that_do_not_fit(counts):
  with pytest.raises(ValueError, match='0 <= successes <= n'):
    statistics.wilson(*counts)


def test_summary_by_hand():
  actual = statistics.summarize(
    make([100, 200, 300, 400], [1, 1, 0, 2]), 50, outcomes=_OUTCOMES
  )
  assert actual['episodes'] == 4
  assert actual['success'] == 0.5
  assert actual['median_steps'] == actual['mean_steps'] == 150.0
  # 2 successes in 1000 steps of 20 ms is 2 in 20 s, 60 in 10 min.
  assert actual['throughput_per_10min'] == pytest.approx(60.0)
  assert actual['p10_steps'] == pytest.approx(110.0)
  assert actual['p90_steps'] == pytest.approx(190.0)
  assert actual['outcomes'] == {
    'time_out': 1,
    'success': 2,
    'force_limit': 1,
    'drop': 0,
  }
  assert actual['median_low'] is None


def test_throughput_follows_the_control_rate():
  episodes = make([100, 100], [1, 3])
  slow, fast = (statistics.summarize(episodes, hz) for hz in (25, 50))
  assert fast['throughput_per_10min'] == 2 * slow['throughput_per_10min']


def test_summary_without_success_has_no_step_figures():
  actual = statistics.summarize(make([50, 60], [0, 3]), 50)
  assert actual['median_steps'] is None and actual['mean_steps'] is None
  assert actual['throughput_per_10min'] == 0.0


def test_median_interval_takes_the_tabulated_ranks():
  # 95 %: ranks 2 and 9 of 10; 6 is the smallest sample that has any.
  assert statistics.median_interval(np.arange(1, 11)) == (2.0, 9.0)
  assert statistics.median_interval(np.arange(1, 7)) == (1.0, 6.0)
  assert statistics.median_interval(np.arange(1, 6)) == (None, None)


def test_share_counts_failures_and_asks_to_beat_every_demonstration():
  demonstrations = make([90, 120, 10], [1, 1, 0])
  # 80 beats 90; 90 only equals it; 50 is a failure.
  final = make([80, 90, 50, 100], [1, 1, 2, 1])
  assert statistics.share_faster_than_all(final, demonstrations) == 0.25
  with pytest.raises(ValueError, match='successful demonstration: 4, 0'):
    statistics.share_faster_than_all(final, make([10], [0]))


@pytest.mark.parametrize(
  'episodes, message',
  [
    (make([0], [1]), 'steps must be at least 1: 0'),
    (make([1], [4]), 'outcome must be below 4, one of .*drop.*: 4'),
    (make([1], [-1]), r'outcome must not be negative: \[-1\]'),
    (make([], []), 'at least one episode: 0'),
    (make([1, 2], [1, 0])._replace(success=np.array([True, True])), 'row 1'),
    (make([1, 2], [1, 0])._replace(steps=np.array([1])), r'one \[M\] each'),
  ],
)
def test_contradicting_columns_are_refused(episodes, message):
  with pytest.raises(ValueError, match=message):
    statistics.summarize(episodes, 50, outcomes=_OUTCOMES)


def test_without_names_outcomes_are_not_counted():
  assert 'outcomes' not in statistics.summarize(make([1, 2], [1, 7]), 50)


def test_episodes_survive_json_and_pooling():
  parts = [make([10, 20], [1, 0]), make([30], [2])]
  stored = [json.loads(json.dumps(statistics.to_plain(x))) for x in parts]
  pooled = statistics.pool([statistics.from_plain(x) for x in stored])
  assert pooled.success.tolist() == [True, False, False]
  assert pooled.steps.tolist() == [10, 20, 30]
  assert pooled.outcome.tolist() == [1, 0, 2]


def test_one_line_describes_episodes():
  assert statistics.describe(make([100, 200], [1, 0]), 50) == (
    'success 0.50 (0.09-0.91) of 2, median 100 steps, 100 per 10 min'
  )
  assert 'median - steps' in statistics.describe(make([100], [0]), 50)


def test_the_interval_of_the_throughput_holds_it_and_shrinks():
  few = statistics.make_episodes([1, 0, 1, 1], [100, 500, 120, 80])
  many = statistics.pool([few] * 50)
  widths = []
  for episodes in (few, many):
    low, high = statistics.throughput_interval(episodes, 50.0)
    assert low < statistics.throughput_per_10min(episodes, 50.0) < high
    widths.append(high - low)
  assert widths[1] < widths[0] / 3
  again = statistics.throughput_interval(many, 50.0)
  assert again == statistics.throughput_interval(many, 50.0)


def test_the_difference_of_two_rates_has_newcombes_interval():
  # 56 of 70 and 48 of 80, method 10 of the paper's table II.
  first, second = (np.arange(n) < wins for wins, n in ((56, 70), (48, 80)))
  interval = statistics.difference_interval(first, second)
  assert interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
