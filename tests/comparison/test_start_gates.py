"""Gates of the start, on evaluators that compute nothing."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.comparison import gates, start_gates
from rlt_jax.comparison.rows import ROWS
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting.statistics import make_episodes
from rlt_jax.signals import StopRequest
from rlt_jax.types import Features

_B, _H, _A = 6, 12, 2
_SHAPE = (_B, _H, _A)


def successes(wins, num=100):
  outcome = (np.arange(num) < wins).astype(int)
  return make_episodes(outcome, np.full(num, 50))


def features():
  return Features(jnp.zeros((_B, 3)), jnp.zeros((_B, 2)), jnp.zeros(_SHAPE), 0)


def make_start(*, base=70, noisy=70, fresh=70, prior, act=None):
  """A start whose policies succeed as often as given, in 100 episodes."""

  def run(policy, episodes):
    assert episodes == 100
    if isinstance(policy, evaluator_lib.Steering):
      noise = policy.noise(features(), jax.random.PRNGKey(3))
      assert noise.shape == _SHAPE and policy.steps == 4
      return successes(noisy), []
    chunk = policy(features(), jax.random.PRNGKey(3))
    assert chunk.shape == (_B, 4, _A)
    return successes(fresh if jnp.all(chunk == 1.0) else base), []

  agent = SimpleNamespace(
    init=lambda key: {}, policy_params=lambda state: state, prior_noise=prior,
    act=act or (lambda params, seen, key, explore: jnp.ones((_B, 4, _A))),
  )  # fmt: skip
  return start_gates.Start(
    config=SimpleNamespace(chunk_size=4, num_final_episodes=100),
    setup=SimpleNamespace(
      agent=agent,
      perception=SimpleNamespace(
        perceive=lambda worlds, key: features(),
        sample=lambda worlds, noise: 2.0 * noise,  # the VLA
      ),
    ),
    evaluator=SimpleNamespace(
      run=run,
      sizes=SimpleNamespace(large=_B),
      initial_states=lambda count: count,
    ),
    stop=StopRequest('at once'),
  )


def independent(key, rows):
  return jax.random.normal(key, (rows, _H, _A))


def repeated(key, rows):
  draw = jax.random.normal(key, (rows, 1, _A))
  return jnp.broadcast_to(draw, (rows, _H, _A))


@pytest.mark.parametrize(
  'fresh, passed', [(70, True), (60, True), (50, False), (90, False)]
)
def test_a_method_must_start_as_the_vla(fresh, passed):
  # 70 and 60 of 100 may be the same rate, 70 and 50 may not.
  start = make_start(fresh=fresh, prior=None)
  verdict = start_gates.starts_at_base(start)
  assert verdict.passed == passed
  assert verdict.numbers['base'] == 0.7
  assert verdict.numbers['start'] == fresh / 100


@pytest.mark.parametrize('noisy, passed', [(75, True), (61, True), (59, False)])
def test_the_noise_of_the_warm_up_must_be_about_as_good(noisy, passed):
  verdict = start_gates.noise_is_base(make_start(noisy=noisy, prior=repeated))
  assert verdict.passed == passed and verdict.numbers['episodes'] == 100


def test_a_latent_that_is_all_of_the_noise_steers_fully():
  start = make_start(
    prior=repeated, act=lambda params, seen, key, explore: jnp.ones(_SHAPE)
  )
  verdict = start_gates.noise_steers(start)
  assert verdict.passed
  # Eight draws at 6 x 2 places: a rough estimate of one.
  assert verdict.numbers['share_of_spread'] == pytest.approx(1.0, abs=0.4)


def test_a_latent_that_changes_nothing_does_not_steer():
  start = make_start(
    prior=independent,
    act=lambda params, seen, key, explore: independent(
      jax.random.fold_in(key, 7), _B
    ),
  )
  verdict = start_gates.noise_steers(start)
  assert verdict.numbers['share_of_spread'] < 0.5
  start = make_start(
    prior=lambda key, rows: jnp.zeros((rows, _H, _A)),
    act=lambda params, seen, key, explore: jnp.zeros(_SHAPE),
  )
  verdict = start_gates.noise_steers(start)
  assert not verdict.passed and verdict.numbers['share_of_spread'] == 0.0


def test_the_mean_return_by_hand():
  # A success in 3 steps: 0.81 + 0.9 + 1 over 3; a failure adds 2 steps of 0.
  episodes = make_episodes([1, 0], [3, 2])
  assert gates.mean_return(episodes, 0.9) == pytest.approx(2.71 / 5)


@pytest.mark.parametrize('factor, passed', [(1.0, True), (0.4, False)])
def test_values_are_compared_with_the_vla_of_the_same_chunks(
  tmp_path, factor, passed
):
  wanted = gates.mean_return(successes(70), 0.99)
  metrics = {'env_steps': 1, 'phase': 'warm-up', 'q_mean': factor * wanted}
  (tmp_path / 'metrics.jsonl').write_text(json.dumps(metrics) + '\n')
  runs = gates.Runs(
    config=SimpleNamespace(chunk_size=4, gamma=0.99),
    policy='mean',
    finished=[tmp_path],
    diverged=[],
    open_start=lambda: make_start(base=70, prior=None),
  )
  found = gates.check(ROWS['residual'], runs)['values_match_base']
  assert found['passed'] == passed
  assert found['numbers']['seeds'][0]['mean_return'] == pytest.approx(wanted)
