import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.vlas.openpi import experts

_RNG = np.random.default_rng(0)


def _normal(*shape):
  return _RNG.normal(size=shape).astype(np.float32)


def test_heads_of_a_group_share_keys_and_values():
  query, key = _normal(2, 5, 4, 8), _normal(2, 7, 2, 8)
  value = _normal(2, 7, 2, 8)
  visible = _RNG.uniform(size=(2, 5, 7)) < 0.7
  visible[..., 0] = True
  found = experts.attend(query, key, value, visible)
  for head in range(4):
    scores = np.einsum('btd,bsd->bts', query[:, :, head], key[:, :, head // 2])
    shares = jax.nn.softmax(np.where(visible, scores, -np.inf))
    expected = np.einsum('bts,bsd->btd', shares, value[:, :, head // 2])
    np.testing.assert_allclose(found[:, :, head], expected, atol=1e-5)


def test_a_rotation_depends_on_the_distance_alone():
  x, y = _normal(1, 1, 1, 16), _normal(1, 1, 1, 16)

  def score(i, j):
    a = experts.rotate(x, jnp.full((1, 1), i))
    b = experts.rotate(y, jnp.full((1, 1), j))
    return float((a * b).sum())

  assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-4)
  assert score(3, 1) != pytest.approx(score(3, 2), abs=1e-3)
  np.testing.assert_allclose(experts.rotate(x, jnp.zeros((1, 1))), x, atol=1e-6)


def test_a_row_that_sees_nothing_stays_finite():
  query, key = _normal(1, 2, 2, 4), _normal(1, 3, 1, 4)
  out = experts.attend(query, key, key, np.zeros((1, 2, 3), bool))
  assert np.isfinite(out).all()
