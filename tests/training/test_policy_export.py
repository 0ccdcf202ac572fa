"""A policy becomes a bundle that agrees with its run."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from rlt_jax import config as config_lib
from rlt_jax import tasks
from rlt_jax.agents import registry
from rlt_jax.agents.agent import Sizes
from rlt_jax.export import checkpoint
from rlt_jax.robot.policy import bundle as reading
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.sim import physics, two_arm_bench
from rlt_jax.sim.mjx_import import mjx
from rlt_jax.training import policy_export, saved_policy
from rlt_jax.types import Features
from tests.agents import toy_agent


def _fail(*_, **__):
  pytest.fail('A simulator is built.')


@pytest.fixture(scope='module', autouse=True)
def no_simulator():
  with pytest.MonkeyPatch.context() as patch:
    for module, name in (
      (mjx, 'put_model'), (physics, 'make'), (tasks, 'load')
    ):  # fmt: skip
      patch.setattr(module, name, _fail)
    yield


@pytest.fixture(scope='module')
def source(config, assets):
  return policy_export.fresh(config, str(assets))


def test_a_runs_policy_is_that_of_its_checkpoint(
  tmp_path, config, assets, source
):
  policy = jax.tree.map(lambda x: x + 1, source.policy)
  meta = saved_policy.make_meta(config, source.setup.served)
  checkpoint.save(tmp_path, 40, {'policy': policy, 'updates': 3}, meta)
  (tmp_path / 'config.json').write_text(config_lib.to_json(config))
  found = policy_export.from_run(tmp_path, str(assets))
  chex.assert_trees_all_equal(found.policy, policy)
  assert (found.env_steps, found.workdir) == (40, str(tmp_path))
  assert found.config == config


def test_the_bundle_is_the_agents_policy(tmp_path, config, source):
  policy_export.export(source, tmp_path / 'b', command='python -m x')
  spec, _ = reading.load(tmp_path / 'b')
  assert spec.chunk_size == config.chunk_size
  assert spec.gamma == config.gamma
  assert spec.exploration_std == config.agent.exploration_std
  assert spec.joint_names == two_arm_bench.JOINTS
  assert spec.run['command'] == 'python -m x' and spec.run['env_steps'] == 0
  rng = np.random.default_rng(0)
  z_rl, scaled, reference = (
    np.float32(rng.normal(size=shape))
    for shape in (
      (spec.z_dim,),
      (spec.proprio_dim,),
      (spec.chunk_size, spec.action_dim),
    )
  )
  proprio = scaled * np.float32(spec.proprio_std) + spec.proprio_mean
  chunk = NumpyPolicy.load(tmp_path / 'b').act(z_rl, proprio, reference)
  features = Features(z_rl[None], scaled[None], reference[None], None)
  own = source.setup.agent.act(
    source.policy, features, jax.random.key(0), False
  )
  np.testing.assert_allclose(chunk, own[0], atol=1e-4)


@pytest.mark.parametrize(
  'change, rule',
  [
    ({'token_ablation': 'zeros'}, "token_ablation must be none .*: 'zeros'"),
    ({'reference_fault': 'bias'}, "reference_fault must be none .*: 'bias'"),
  ],
)
def test_a_policy_of_other_features_is_refused(config, source, change, rule):
  config = dataclasses.replace(config, **change)
  with pytest.raises(ValueError, match=rule):
    policy_export.policy_fields(source.setup.agent, config)
  with pytest.raises(ValueError, match=rule):
    policy_export.fresh(config)


def test_a_fresh_policy_is_that_of_the_seed(config, assets, source):
  other = dataclasses.replace(config, seed=config.seed + 1)
  agent = source.setup.agent
  for changed, same in ((config, True), (other, False)):
    state = agent.init(jax.random.PRNGKey(changed.seed))
    pairs = zip(
      jax.tree.leaves(agent.policy_params(state)),
      jax.tree.leaves(source.policy),
      strict=True,
    )
    assert all(np.array_equal(x, y) for x, y in pairs) == same


def test_an_agent_without_a_policy_for_robots_is_refused(tmp_path, source):
  agent = registry.make(
    'tests.agents.toy_agent:make',
    toy_agent.OffsetConfig(),
    Sizes(4, 28, 10, two_arm_bench.ACTION_DIM),
  )
  toy = source._replace(setup=source.setup._replace(agent=agent))
  with pytest.raises(ValueError, match='OffsetConfig has none'):
    policy_export.export(toy, tmp_path / 'b', command='')
  assert not (tmp_path / 'b').exists()
