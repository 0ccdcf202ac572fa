"""What the critics are asked, with networks that one can compute by hand."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax import replay
from rlt_jax.agents.agent import Sizes
from rlt_jax.agents.rlt import agent as agent_lib
from rlt_jax.agents.rlt import q_diagnostics, RltConfig
from rlt_jax.replay.returns import Experience, FAILURE
from rlt_jax.types import Outcome, Source

_ROWS = jax.tree.map(
  lambda x: np.zeros((5, *x.shape), x.dtype), replay.transition_spec(1, 1, 1, 2)
)
# The actor adds its params to the reference, and two critics weigh the chunk.
_NETS = SimpleNamespace(
  config=RltConfig(beta=0.5, frozen_action_dims=()),
  actor=lambda params, z_rl, proprio, reference: reference + params,
  critic=lambda params, z_rl, proprio, chunk: chunk[..., 0, :] @ params,
)


def _judge(actor, critic, rows=_ROWS, present=None):
  state = SimpleNamespace(
    actor_params=jnp.float32(actor), critic_params=jnp.float32(critic)
  )
  present = np.ones(len(rows.reward), bool) if present is None else present
  return jax.device_get(q_diagnostics.judge(_NETS, state, rows, present))


def test_the_smallest_critic_rates_each_chunk():
  rows = _ROWS._replace(
    ref_chunk=_ROWS.ref_chunk + np.float32([1, 0]),
    action_chunk=_ROWS.action_chunk + np.float32([0, 2]),
  )
  # Q is (x + 3 y, x + y) of a chunk (x, y).
  found = _judge([3, 4], [[1, 1], [3, 1]], rows)
  np.testing.assert_allclose(found.executed, 2.0)
  np.testing.assert_allclose(found.actor, 8.0)
  np.testing.assert_allclose(found.reference, 1.0)


@pytest.mark.parametrize(
  'direction, cosine',
  [([3, 4], 1), ([-3, -4], -1), ([4, -3], 0), ([1, 0], 0.6)],
)
def test_the_cosine_says_whether_q_pushes_against_beta(direction, cosine):
  # The gradient of the squared distance is 2 * (3, 4), that of Q `direction`.
  found = _judge([3, 4], np.float32([direction] * 2).T)
  np.testing.assert_allclose(found.cosine_action, cosine, atol=1e-6)
  assert found.cosine_params == pytest.approx(cosine, abs=1e-6)
  expected = np.linalg.norm(direction) / (0.5 * 10)
  assert found.gradient_ratio == pytest.approx(expected)


def test_params_get_the_mean_over_the_rows_that_are_present():
  def critic(params, z_rl, proprio, chunk):
    return (z_rl * chunk[..., 0, :]).sum(-1, keepdims=True)

  nets = SimpleNamespace(**vars(_NETS) | {'critic': critic})
  state = SimpleNamespace(actor_params=jnp.ones(2), critic_params=())
  rows = _ROWS._replace(z_rl=np.float32([[9], [1], [3], [9], [9]]))
  present = np.array([False, True, True, False, False])
  found = q_diagnostics.judge(nets, state, rows, present)
  # Mean gradient of Q: (2, 2); of beta times the squares: 0.5 * (2, 2).
  assert float(found.gradient_ratio) == pytest.approx(2.0)


_JUDGED = q_diagnostics.Judged(
  executed=np.float32([0.9, 0.7, 0.2, 0.5, 9.0]),
  actor=np.float32([1.0, 0.6, 0.6, 0.6, 9.0]),
  reference=np.float32([0.5, 0.5, 0.5, 0.7, 0.0]),
  cosine_action=np.float32([1.0, 0.0, np.nan, 0.5, 1.0]),
  cosine_params=np.float32(0.25),
  gradient_ratio=np.float32(np.inf),
)


def _experience(**rows):
  return Experience(
    rows=_ROWS._replace(**rows),
    present=np.array([True, True, True, True, False]),
    returns=np.float32([0.8, 0.4, 0.0, np.nan, 1.0]),
    outcome=np.array([
      Outcome.SUCCESS, Outcome.SUCCESS, FAILURE, Outcome.RUNNING,
      Outcome.SUCCESS,
    ]),
  )  # fmt: skip


def test_values_are_split_by_the_end_of_the_episode():
  found = q_diagnostics.summarize(_JUDGED, _experience())
  assert found['rows'] == 4
  assert found['rows_success'] == 2 and found['rows_failure'] == 1
  assert found['q_success'] == pytest.approx(0.8)
  assert found['return_success'] == pytest.approx(0.6)
  assert found['q_failure'] == pytest.approx(0.2)
  assert found['return_failure'] == 0.0
  assert found['rows_time_out'] == 0 and found['q_time_out'] is None
  assert found['q_actor'] == pytest.approx(0.7)
  assert found['q_reference'] == pytest.approx(0.55)
  assert found['actor_above_reference'] == 0.75
  assert found['cosine_action'] == pytest.approx(0.5)
  assert found['cosine_params'] == 0.25
  assert found['gradient_ratio'] is None
  assert found['human_rows'] == 0 and found['human_above_actor'] is None


def test_a_humans_chunk_is_ranked_against_both():
  human = np.full(5, Source.HUMAN, np.int32)
  human[0] = Source.ACTOR
  # In row 1 the reference is the human's own chunk.
  executed = _ROWS.action_chunk + np.float32([1, 0, 1, 1, 1])[:, None, None]
  found = q_diagnostics.summarize(
    _JUDGED, _experience(source=human, action_chunk=executed)
  )
  assert found['human_rows'] == 3
  assert found['human_above_actor'] == pytest.approx(1 / 3)
  assert found['human_above_reference'] == 0.0


def test_the_agent_answers_and_its_state_stays():
  config = RltConfig(hidden_dims=(4,), frozen_action_dims=(1,))
  agent = agent_lib.make(config, Sizes(1, 1, 1, 2))
  state = agent.init(jax.random.key(0))
  before = jax.tree.map(np.array, state.replace(key=None))
  rows = _ROWS._replace(ref_chunk=_ROWS.ref_chunk + np.float32([0.5, 7]))
  found = agent.diagnose_values(
    state, _experience(ref_chunk=rows.ref_chunk)
  )  # fmt: skip
  assert found['rows'] == 4 and -1 <= found['cosine_params'] <= 1
  assert found['gradient_ratio'] > 0
  chex.assert_trees_all_equal(state.replace(key=None), before)
