import json
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlt_jax.export import checkpoint

_META = {'format_version': checkpoint.FORMAT_VERSION, 'config': {'seed': 1}}


class Counters(NamedTuple):
  env_steps: int
  ratio: float
  on: bool


@chex.dataclass(frozen=True)
class State:
  params: Any
  opt_state: Any
  key: Any
  counters: Counters
  replay: Any


def make_state(value=1.0, width=3):
  params = {'dense.0': {'kernel': jnp.full((2, width), value)}}
  return State(
    params=params,
    opt_state=optax.adam(1e-3).init(params),
    key=jax.random.PRNGKey(7),
    counters=Counters(env_steps=2**40, ratio=0.25, on=True),
    replay=(np.arange(4, dtype=np.int64), jnp.ones(2, jnp.bfloat16)),
  )


def test_restore_gives_back_what_was_saved(tmp_path):
  state = make_state()
  checkpoint.save(tmp_path, 100, state, _META)
  like = jax.tree.map(
    lambda leaf: type(leaf)(0) if np.isscalar(leaf) else leaf * 0, state
  )
  actual = checkpoint.restore(tmp_path, like)
  assert actual.env_steps == 100 and actual.meta == _META
  chex.assert_trees_all_equal_structs(actual.state, state)
  for found, expected in zip(
    jax.tree.leaves(actual.state), jax.tree.leaves(state), strict=True
  ):
    assert isinstance(found, jax.Array) == isinstance(expected, jax.Array)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(found, expected)
  assert actual.state.counters == state.counters
  assert type(actual.state.counters.env_steps) is int


def test_typed_keys_continue_their_stream(tmp_path):
  checkpoint.save(tmp_path, 1, {'key': jax.random.key(3)}, _META)
  actual = checkpoint.restore(tmp_path, {'key': jax.random.key(0)}).state
  assert jax.random.normal(actual['key']) == jax.random.normal(
    jax.random.key(3)
  )


def test_a_leaf_of_another_shape_is_refused_by_name(tmp_path):
  checkpoint.save(tmp_path, 100, make_state(), _META)
  with pytest.raises(
    ValueError,
    match=r'dense.0/kernel, expected float32\[2, 4\], found float32\[2, 3\]',
  ):
    checkpoint.restore(tmp_path, make_state(width=4))


def test_a_leaf_of_another_dtype_is_refused_by_name(tmp_path):
  checkpoint.save(tmp_path, 1, {'a': np.zeros(2, np.float32)}, _META)
  with pytest.raises(
    ValueError, match=r'a, expected int32\[2\], found float32\[2\]'
  ):
    checkpoint.restore(tmp_path, {'a': np.zeros(2, np.int32)})


@pytest.mark.parametrize(
  'like, message',
  [({'a': 1, 'b': 2}, 'lacks b'), ({}, 'has the unknown a')],
)
def test_other_leaves_are_refused_by_name(tmp_path, like, message):
  checkpoint.save(tmp_path, 1, {'a': 1}, _META)
  with pytest.raises(ValueError, match=message):
    checkpoint.restore(tmp_path, like)


def test_meta_is_checked_before_the_arrays(tmp_path):
  checkpoint.save(tmp_path, 1, {'a': 1}, _META)
  with pytest.raises(ValueError, match='config.seed, expected 2, found 1'):
    # The leaves do not fit either: meta must come first.
    checkpoint.restore(
      tmp_path, {'b': 1}, expected_meta={'config': {'seed': 2}}
    )


def test_check_meta_compares_what_is_expected_only():
  found = json.loads(
    json.dumps(checkpoint.make_meta({'sizes': (1, 2)}, {'vla': 'ab'}))
  )
  assert found['versions']['jax'] == jax.__version__
  checkpoint.check_meta(found, {'config': {'sizes': (1, 2)}})
  with pytest.raises(
    ValueError, match="fingerprints.vla, expected 'cd', found 'ab'"
  ):
    checkpoint.check_meta(found, {'fingerprints': {'vla': 'cd'}})
  with pytest.raises(ValueError, match='fingerprints.token: it is missing'):
    checkpoint.check_meta(found, {'fingerprints': {'token': 'cd'}})


def test_only_the_last_two_are_kept(tmp_path):
  for step in (9, 10, 200):
    checkpoint.save(tmp_path, step, {'a': step}, _META)
  names = sorted(p.name for p in (tmp_path / 'checkpoints').iterdir())
  assert names == ['10', '200']
  assert checkpoint.latest(tmp_path) == 200
  assert checkpoint.restore(tmp_path, {'a': 0}, env_steps=10).state['a'] == 10


def test_a_half_written_checkpoint_is_ignored(tmp_path, monkeypatch):
  checkpoint.save(tmp_path, 1, {'a': 1}, _META)

  def crash(*unused_args):
    raise OSError('disk full')

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.os, 'replace', crash)
    with pytest.raises(OSError, match='disk full'):
      checkpoint.save(tmp_path, 2, {'a': 2}, _META)
  assert len(list((tmp_path / 'checkpoints').iterdir())) == 2
  assert checkpoint.restore(tmp_path, {'a': 0}).env_steps == 1
  checkpoint.save(tmp_path, 3, {'a': 3}, _META)
  names = sorted(p.name for p in (tmp_path / 'checkpoints').iterdir())
  assert names == ['1', '3']


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_run_that_diverged_leaves_the_last_good_one(tmp_path, bad):
  checkpoint.save(tmp_path, 1, make_state(), _META)
  with pytest.raises(ValueError, match='finite: .*dense.0/kernel'):
    checkpoint.save(tmp_path, 2, make_state(bad), _META)
  assert checkpoint.restore(tmp_path, make_state(0.0)).env_steps == 1


def test_a_part_may_hold_infinity_and_no_nan(tmp_path):
  def save(**leaves):
    state = {'part': {'a': 1.0}, 'partner': 2.0} | leaves
    checkpoint.save(tmp_path, 1, state, _META, infinite='part')
    return state

  state = save(part={'a': np.array([1.0, np.inf])})
  restored = checkpoint.restore(tmp_path, state).state
  np.testing.assert_array_equal(restored['part']['a'], [1.0, np.inf])
  with pytest.raises(ValueError, match='must not hold NaN: part/a'):
    save(part={'a': np.nan})
  with pytest.raises(ValueError, match='must be finite: partner'):
    save(partner=np.inf)
  save(part=np.inf)


def test_saving_a_step_again_replaces_it_and_going_back_is_refused(tmp_path):
  checkpoint.save(tmp_path, 5, {'a': 1}, _META)
  checkpoint.save(tmp_path, 5, {'a': 2}, _META)
  assert checkpoint.restore(tmp_path, {'a': 0}).state == {'a': 2}
  with pytest.raises(ValueError, match='must not go back: 4 < 5'):
    checkpoint.save(tmp_path, 4, {'a': 1}, _META)


def test_a_missing_checkpoint_is_said(tmp_path):
  assert checkpoint.latest(tmp_path) is None
  with pytest.raises(FileNotFoundError, match='No checkpoint'):
    checkpoint.restore(tmp_path, {'a': 1})


def test_text_is_no_leaf(tmp_path):
  with pytest.raises(ValueError, match="must be numeric: name is 'x'"):
    checkpoint.save(tmp_path, 1, {'name': 'x'}, _META)
