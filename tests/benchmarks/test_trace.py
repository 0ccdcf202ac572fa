import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import trace
from benchmarks.timing import Contender

_X = np.ones((128, 128), np.float32)
_PRODUCT = jax.jit(lambda x: jnp.tanh(x @ x).sum())


@pytest.fixture
def contender():
  call = lambda: _PRODUCT(_X).block_until_ready()  # noqa: E731
  return Contender('a product', 1, call)


def test_a_trace_opens_in_the_viewers_and_names_what_costs(
  contender, tmp_path, capsys
):
  folder = tmp_path / 'trace'
  program = _PRODUCT.lower(_X).compile().as_text()
  trace.record(str(folder), contender, program=program, calls=3)
  # TensorBoard reads plugins/profile/<run>/, Perfetto the other one.
  assert list(folder.glob('plugins/profile/*/*.xplane.pb'))
  assert list(folder.glob('plugins/profile/*/perfetto_trace.json.gz'))
  first, *lines = capsys.readouterr().out.splitlines()
  assert first.startswith('a product:') and 'us of operations' in first
  assert 1 <= len(lines) <= 10 and all('jit(' in line for line in lines)
  shares = [float(line.split()[2].rstrip('%')) for line in lines]
  assert shares == sorted(shares, reverse=True)


def test_a_folder_that_exists_is_refused(contender, tmp_path):
  with pytest.raises(ValueError, match=f'must be new: {tmp_path}'):
    trace.record(str(tmp_path), contender)


def test_a_loop_costs_what_its_operations_leave():
  spent = collections.Counter()
  events = [(0, 100, 'loop'), (10, 30, 'a'), (15, 5, 'b'), (50, 40, 'a')]
  trace._add_own(spent, [*events, (100, 7, 'c')])
  assert spent == {'loop': 30, 'a': 65, 'b': 5, 'c': 7}
