"""A small practice with untrained assets, shared by the rollout tests."""

from collections.abc import Callable
import dataclasses
import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.agents.rlt import RltConfig
from rlt_jax.rl_token import rl_token
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.train import train_token
from rlt_jax.sim import two_arm_bench
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.task import Task
from rlt_jax.training.config import PracticeConfig
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.pi_small.config import PiConfig
from tests.vlas.untrained import random_vla

_TINY = {
  'prefix_width': 32,
  'expert_width': 16,
  'depth': 1,
  'num_heads': 2,
  'head_dim': 16,
  'stem_widths': (8, 16),
  'euler_steps': 2,
}


def write_assets(folder: pathlib.Path, seed: int = 0) -> pathlib.Path:
  """Writes an untrained VLA and a token of it."""
  vla = random_vla(
    jax.random.PRNGKey(seed),
    PiConfig(**_TINY),
    action_mode='offset',
    action_scale=[0.004] * 6 + [0.0002] + [0.001] * 6 + [0.0002],
    joint_names=two_arm_bench.JOINTS,
    control_hz=EthernetConfig.control_hz,
  )
  pi_vla.save(folder / 'vla', vla, metrics={}, command=['test'], seed=seed)
  demonstrations = {'outcome': [1, 1, 0], 'steps': [30, 35, 40]}
  (folder / 'vla' / 'demos.json').write_text(json.dumps(demonstrations))
  config = TokenConfig(
    token_dim=32,
    num_image_tokens=48,
    num_layers=1,
    num_heads=2,
    mlp_ratio=1,
    steps=2,
    warmup_steps=1,
    batch_size=4,
  )
  tokens = np.random.default_rng(seed).normal(size=(16, 48, 32))
  trained = train_token(
    jax.random.PRNGKey(seed), tokens.astype(np.float32), config
  )
  token = rl_token.make(trained.params, config, vla.spec.fingerprint)
  rl_token.save(
    folder / 'token', token, metrics={'fve_real': 0.0}, command=[], seed=seed
  )
  return folder


@pytest.fixture(scope='session')
def assets(tmp_path_factory) -> pathlib.Path:
  return write_assets(tmp_path_factory.mktemp('assets'))


def small_config() -> PracticeConfig:
  return PracticeConfig(
    task=EthernetConfig(time_limit=40),
    agent=RltConfig(batch_size=16, frozen_action_dims=tuple(range(6, 14))),
    num_envs=2,
    num_env_steps=300,
    vla_warmup_steps=120,
    vla_warmup_successes=0,
    learning_starts=16,
    replay_capacity=200,
    eval_at_minutes=(0.05,),
    num_eval_episodes=2,
    num_final_episodes=2,
    num_eval_videos=1,
    checkpoint_minutes=0.05,
  )


@pytest.fixture(scope='session')
def config() -> PracticeConfig:
  return small_config()


def load_without_images(load: Callable, name: str, config=None) -> Task:
  """Returns a task whose pictures are black: its cameras compile for long.

  Args:
    load: `tasks.load`.
    name, config: its arguments.
  """
  task = load(name, config)

  def render(state):
    images = np.zeros((len(state.steps), 64, 64, 3), np.uint8)
    return dict.fromkeys(task.spec.cameras, images)

  return dataclasses.replace(task, render=render)


@pytest.fixture(scope='module')
def dark(built_once):
  """No pictures, where what is learned from them is tested elsewhere."""
  with pytest.MonkeyPatch.context() as patch:
    load = functools.partial(load_without_images, tasks.load)
    patch.setattr(tasks, 'load', load)
    yield
