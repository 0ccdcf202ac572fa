"""What the VLA is fine-tuned on: shares, units, and ends that do not count."""

import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.finetuning import training
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.vlas.pi_small import objective
from tests.vlas import shards
from tests.vlas.conftest import config, demos  # noqa: F401
from tests.vlas.untrained import random_vla

_METHOD = FinetuneConfig(driver='agent', kept='corrections')


@pytest.fixture
def vla(config, demos):  # noqa: F811
  sizes = dataclasses.replace(config, vocabulary=1024)
  facts = demos.action_facts() | {'action_scale': (0.1, 0.4)}
  return random_vla(jax.random.key(0), sizes, **facts)


@pytest.fixture
def paths(tmp_path, demos):  # noqa: F811
  found = {}
  for name, rows in (
    (training.DEMONSTRATIONS, np.arange(160)),
    (training.COLLECTED, np.arange(160, 240)),
  ):
    found[name] = tmp_path / name / 'round-0'
    found[name].mkdir(parents=True)
    shards.write(found[name] / '0.npz', demos, rows)
    found[name] = tmp_path / name
  return found


def test_sets_keep_their_shares_and_have_the_unit_of_the_vla(
  paths,
  vla,
  demos,  # noqa: F811
):
  mix = training.read(paths, 0.25, vla)
  assert mix.names() == ('demonstrations', 'collected')
  assert mix.share == (0.25, 0.75)
  np.testing.assert_array_equal(mix.rows[1], np.arange(160, 240))
  # The second action of the data is 0.2 a unit, of the VLA 0.4.
  np.testing.assert_allclose(
    mix.demos.frames.chunk, demos.frames.chunk * [1.0, 0.5], rtol=1e-6
  )
  assert mix.demos.action_scale == (0.1, 0.4)
  assert len(np.unique(mix.demos.frames.episode)) == 24
  drawn = mix.draw(mix.rows, 4000, np.random.default_rng(0))
  assert np.mean(drawn < 160) == pytest.approx(0.25, abs=0.03)


def test_steps_past_the_end_do_not_count(config, demos, vla):  # noqa: F811
  loss = training.loss_config(_METHOD)
  frames = demos.frames
  valid = frames.chunk_valid.copy()
  valid[:, 1:] = False

  def flow_loss(chunk_valid):
    _, metrics = objective.loss(
      vla.params,
      frames._replace(chunk_valid=chunk_valid),
      jax.random.key(0),
      config=vla.config,
      train=loss,
    )
    return float(metrics['flow_loss'])

  # The mean over all four steps is made of the first and the other three.
  first, rest = flow_loss(valid), flow_loss(~valid)
  whole = flow_loss(np.ones_like(valid))
  assert first != pytest.approx(rest, rel=1e-3)
  assert whole == pytest.approx((first + 3 * rest) / 4, rel=1e-4)


def test_only_the_expert_learns_and_a_quarter_as_fast():
  train = training.train_config(_METHOD, seed=3)
  assert (train.part, train.seed, train.steps) == ('expert', 3, 1500)
  assert train.learning_rate == type(train)().learning_rate / 4
