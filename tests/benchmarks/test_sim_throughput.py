import pytest

from benchmarks import sim_throughput, timing


def test_more_worlds_than_memory_are_refused_with_the_estimate():
  fit = int(sim_throughput.available_bytes() / 2**20)
  sim_throughput.check_memory(fit // 2, 2.0**20)
  with pytest.raises(ValueError, match=r'GiB, more than .* at most \d+'):
    sim_throughput.check_memory(2**21, 2.0**20)


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
