import pytest

from rlt_jax.rl_token import host_memory


def test_tokens_that_do_not_fit_in_memory_are_refused():
  def table():
    return 'MemTotal: 9 kB\nMemAvailable:    2000000 kB\n'

  host_memory.check_tokens(1_900_000_000, 5, table)
  with pytest.raises(ValueError, match='5 frames .* 2.0 GB: they take 2.1 GB'):
    host_memory.check_tokens(2_100_000_000, 5, table)
  host_memory.check_tokens(2_100_000_000, 5, lambda: 'no such table')


def test_blocks_that_do_not_fit_in_memory_are_refused():
  def table():
    return 'MemAvailable:    2000000 kB'

  host_memory.check_blocks(1_000_000, 682, table)
  with pytest.raises(ValueError, match='2.0 GB: at 1.00 .* 2.0 GB. .*; 341 '):
    host_memory.check_blocks(1_000_000, 683, table)
  host_memory.check_blocks(1_000_000, 683, lambda: 'no such table')
