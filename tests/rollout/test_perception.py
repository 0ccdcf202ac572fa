import dataclasses
import types

import jax
import numpy as np
import pytest

from rlt_jax import tasks
from rlt_jax.rl_token import rl_token
from rlt_jax.rollout import perception
from rlt_jax.serving.embedder import LocalEmbedder
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.task import INSERT, LIFT
from rlt_jax.tasks.insertion import measures
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.vla import draw_noise


@pytest.fixture(scope='module')
def embedder(assets):
  vla = pi_vla.load(assets / 'vla')
  token = rl_token.load(assets / 'token', vla_fingerprint=vla.spec.fingerprint)
  return LocalEmbedder(vla, token)


def _world(seed=0):
  """Stands in for a State: perception reads these two and the pictures."""
  rng = np.random.default_rng(seed)
  return types.SimpleNamespace(
    qpos=rng.normal(size=(3, 16)).astype(np.float32) * 0.01,
    qvel=rng.normal(size=(3, 16)).astype(np.float32) * 0.01,
  )


def _render(level):
  def render(state):
    del state
    rng = np.random.default_rng(level)
    return {
      name: rng.integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
      for name in ('base', 'wrist_left', 'wrist_right')
    }

  return render


def _task(render, instruction=INSERT):
  """The Ethernet task with other cameras or another instruction."""
  task = tasks.load('ethernet')
  spec = dataclasses.replace(
    task.spec, instruction=instruction, other_instructions=()
  )
  return dataclasses.replace(task, render=render, spec=spec)


def _see(
  embedder,
  *,
  level=0,
  token_ablation='none',
  words=INSERT,
  seed=0,
):
  seen = perception.make(
    task=_task(_render(level), words),
    embedder=embedder,
    token_ablation=token_ablation,
  )
  return seen.perceive(_world(seed), jax.random.PRNGKey(0))


def test_the_token_follows_the_pictures(embedder):
  one, other = _see(embedder, level=0), _see(embedder, level=1)
  assert one.z_rl.shape == (3, 32)
  assert one.reference.shape == (3, 50, 14)
  assert not np.allclose(one.z_rl, other.z_rl)


def test_groups_see_what_each_sees_with_its_own_key(embedder):

  def render(state):
    times = len(state.qpos) // 3
    return {n: np.tile(x, (times, 1, 1, 1)) for n, x in _render(0)(0).items()}

  seen = perception.make(
    task=_task(render),
    embedder=embedder,
  )
  keys = jax.random.split(jax.random.PRNGKey(0), 2)
  worlds = [_world(0), _world(1)]
  both = types.SimpleNamespace(
    qpos=np.concatenate([w.qpos for w in worlds]),
    qvel=np.concatenate([w.qvel for w in worlds]),
  )
  apart = [seen.perceive(w, k) for w, k in zip(worlds, keys, strict=True)]
  found = map(jax.tree.leaves, (seen.perceive_each(both, keys), *apart))
  for x, *each in zip(*found, strict=True):
    np.testing.assert_allclose(x, np.concatenate(each), atol=1e-4)
  assert not np.allclose(apart[0].reference, apart[1].reference)


@pytest.mark.parametrize('token_ablation', ['zeros', 'socket_blind'])
def test_what_stands_in_for_the_token_is_blind(embedder, token_ablation):
  one = _see(embedder, level=0, token_ablation=token_ablation)
  other = _see(embedder, level=1, token_ablation=token_ablation)
  np.testing.assert_array_equal(one.z_rl, other.z_rl)


def test_zeros_are_zeros_and_blind_tokens_follow_the_arm(embedder):
  assert not np.any(_see(embedder, token_ablation='zeros').z_rl)
  one = _see(embedder, token_ablation='socket_blind', seed=0)
  other = _see(embedder, token_ablation='socket_blind', seed=1)
  assert not np.allclose(one.z_rl, other.z_rl)


def test_the_instruction_reaches_the_vla(embedder):
  # Seen in the token: an untrained expert ignores its prefix.
  one, other = _see(embedder), _see(embedder, words=LIFT)
  assert not np.allclose(one.z_rl, other.z_rl)


def test_the_true_pose_is_the_plug_in_the_sockets_frame(embedder):
  task = _task(_render(0))
  worlds = jax.vmap(task.reset)(jax.random.split(jax.random.PRNGKey(0), 3))
  seen = perception.make(
    task=task,
    embedder=embedder,
    token_ablation='true_pose',
  )
  z_rl = np.asarray(seen.perceive(worlds, jax.random.PRNGKey(0)).z_rl)
  assert z_rl.shape == (3, 32)
  for i in range(3):
    world = jax.tree.map(lambda x, i=i: x[i], worlds)
    tip = measures.tip_in_socket(scene_lib.load(), world)
    expected = np.append(tip.lateral, -tip.depth) * 200.0
    np.testing.assert_allclose(z_rl[i, :3], expected, rtol=1e-4)
    # The tilt is the turn about the two axes across.
    across = np.deg2rad(3.0) * np.linalg.norm(z_rl[i, 6:8])
    np.testing.assert_allclose(across, tip.tilt, rtol=0.02)


def test_the_true_pose_needs_a_task_that_tells_it(embedder):
  task = dataclasses.replace(_task(_render(0)), true_pose=None)
  with pytest.raises(ValueError, match="'true_pose' needs a task with"):
    perception.make(task=task, embedder=embedder, token_ablation='true_pose')


def test_an_unknown_ablation_is_refused(embedder):
  with pytest.raises(ValueError, match='token_ablation must be one of'):
    _see(embedder, token_ablation='magic')


def test_candidates_are_other_samples_at_the_same_state(embedder):
  plain = perception.make(task=_task(_render(0)), embedder=embedder)
  seen = perception.make(
    task=_task(_render(0)), embedder=embedder, num_candidates=3
  )
  key = jax.random.PRNGKey(0)
  one, more = (x.perceive(_world(), key) for x in (plain, seen))
  assert one.candidates is None and more.candidates.shape == (3, 3, 50, 14)
  np.testing.assert_array_equal(more.reference, one.reference)
  np.testing.assert_array_equal(more.candidates[:, 0], one.reference)
  assert np.ptp(more.candidates, axis=1).min() > 0.0
  shorter = more.steps(2, 5)
  np.testing.assert_array_equal(shorter.candidates, more.candidates[:, :, 2:5])


def test_the_vla_answers_to_the_noise_that_is_chosen(embedder):
  seen = perception.make(task=_task(_render(0)), embedder=embedder)
  noise = np.random.default_rng(0).normal(size=(3, 2, 50, 14)).astype('f4')
  chunks = seen.sample(_world(), noise)
  swapped = seen.sample(_world(), noise[:, ::-1])
  np.testing.assert_allclose(chunks, swapped[:, ::-1], atol=1e-5)
  # The same noise gives the chunk that the VLA itself gives for it.
  spec = embedder.spec
  drawn = draw_noise(jax.random.PRNGKey(5), 3, spec)
  alone = seen.perceive(_world(), jax.random.PRNGKey(5)).reference
  np.testing.assert_allclose(
    seen.sample(_world(), drawn[:, None])[:, 0], alone, atol=1e-4
  )


def test_a_fault_is_in_every_chunk_and_in_nothing_else(embedder):
  task, key = _task(_render(0)), jax.random.PRNGKey(0)
  noise = np.random.default_rng(0).normal(size=(3, 2, 50, 14)).astype('f4')
  plain, weak = (
    perception.make(
      task=task, embedder=embedder, reference_fault=fault, num_candidates=2
    )
    for fault in ('none', 'halved')
  )
  one, half = (x.perceive(_world(), key) for x in (plain, weak))
  np.testing.assert_array_equal(half.reference, one.reference / 2)
  np.testing.assert_array_equal(half.candidates, one.candidates / 2)
  np.testing.assert_array_equal(half.z_rl, one.z_rl)
  one, half = (x.sample(_world(), noise) for x in (plain, weak))
  np.testing.assert_array_equal(half, one / 2)


def test_noise_does_not_go_with_a_noise_that_is_chosen(embedder):
  seen = perception.make(
    task=_task(_render(0)), embedder=embedder, reference_fault='noise'
  )
  with pytest.raises(ValueError, match="'noise' needs an agent that does not"):
    seen.sample(_world(), np.zeros((3, 1, 50, 14), np.float32))
