import numpy as np
import pytest

from rlt_jax import float16


def test_weights_are_rounded_and_statistics_are_not():
  flat = {'w': np.float32([0.1]), 'norm/mean': np.float32([0.1, 1e6])}
  packed = float16.pack(flat, 'norm/')
  assert list(packed) == ['norm/mean', 'w']
  assert [x.dtype for x in packed.values()] == [np.float32, np.float16]
  np.testing.assert_array_equal(packed['norm/mean'], flat['norm/mean'])
  assert packed['w'][0] == np.float16(0.1) != flat['w'][0]


@pytest.mark.parametrize('value', [1e6, np.nan, -np.inf])
def test_what_float16_cannot_hold_is_refused_by_name(value):
  flat = {'a': np.zeros(2), 'b/kernel': np.array([1.0, value])}
  with pytest.raises(ValueError, match='finite in float16: b/kernel is not'):
    float16.pack(flat)
