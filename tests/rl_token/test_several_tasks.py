"""One RL token of demonstrations of two tasks."""

import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.datasets import opening
from rlt_jax.demo_files import TaskFacts
from rlt_jax.rl_token import rl_token, stage1
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas.pi_small import tokenizer
from tests.vlas import shards
from tests.vlas.untrained import random_vla

_TASKS = (
  TaskFacts('plug', 'insert', ('push in',), ('lift it',), ()),
  TaskFacts('screw', 'drive home', (), (), ()),
)


@pytest.fixture(scope='module')
def paths(demos, tmp_path_factory):
  """Folders of twelve episodes of each task, in units of their own."""
  folder = tmp_path_factory.mktemp('demos')
  for number, task in enumerate(_TASKS):
    rows = np.arange(120) + 120 * number
    texts = np.repeat(['lift it'] + [task.instruction] * 11, 10)
    shards.write(
      folder / f'{task.name}.npz',
      demos,
      rows,
      instruction=texts if number == 0 else np.full(120, task.instruction),
      action_scale=np.array([0.1, 0.2]) * (1 + number),
      task=np.array(task.to_json()),
    )
  return [folder / f'{task.name}.npz' for task in _TASKS]


@pytest.fixture(scope='module')
def vla(config, demos):
  sizes = dataclasses.replace(config, vocabulary=tokenizer.VOCABULARY)
  return random_vla(jax.random.key(0), sizes, **demos.action_facts())


def _open(paths, vla):
  return opening.open_sources(paths, vla.spec, vla.tokenize)


def test_sources_of_two_tasks_are_one_in_the_unit_of_the_vla(paths, vla):
  joined, (one, two) = _open(paths, vla), (_open([p], vla) for p in paths)
  assert joined.episodes == one.episodes + two.episodes
  assert [task.name for task in joined.tasks] == ['plug', 'screw']
  assert joined.facts.action_scale == vla.spec.action_scale == (0.1, 0.2)
  frames, own = joined.read(14), two.read(2)
  np.testing.assert_allclose(frames.chunk, 2.0 * own.chunk, rtol=1e-6)
  np.testing.assert_array_equal(frames.proprio, own.proprio)
  assert set(frames.episode) == {14}
  rows = joined.read_rows(14, np.array([3, 1]), images=False)
  np.testing.assert_array_equal(rows.proprio, own.proprio[[3, 1]])
  assert joined.describe()['episodes'] == 24


def test_a_task_in_two_paths_is_refused(paths, vla):
  with pytest.raises(ValueError, match='one path of demonstrations'):
    _open([paths[0], paths[0]], vla)


def test_demonstrations_of_other_joints_are_refused(
  paths, vla, demos, tmp_path
):
  file = tmp_path / 'other.npz'
  same = {'instruction': np.full(len(demos), 'insert')}
  shards.write(file, demos, control_hz=np.array(20.0), **same)
  with pytest.raises(ValueError, match='the same actions.*control_hz=20'):
    _open([paths[0], file], vla)
  shards.write(file, demos, proprio=demos.frames.proprio[:, :3], **same)
  with pytest.raises(ValueError, match='the same shapes of frames'):
    _open([paths[0], file], vla)


def test_a_task_that_the_vla_does_not_know_is_refused(paths, vla):
  knows = dataclasses.replace(vla, tasks=known_tasks.of_facts(_TASKS[:1]))
  with pytest.raises(ValueError, match="'drive home' of screw: it knows plug"):
    stage1.prepare(knows, _open(paths, vla), stage1.Stage1Config())


def test_a_shared_token_reads_language_and_is_measured_per_task(
  paths, vla, tmp_path
):
  config = stage1.Stage1Config(
    episodes=16,
    steps=2,
    num_layers=1,
    num_heads=2,
    alpha=0.1,
    inputs='image_language',
  )
  result = stage1.run(vla, _open(paths, vla), config)
  assert (result.episodes, result.held_out) == (16, 2)
  names = {f'{t.name}/fve_{x}' for t in _TASKS for x in ('real', 'shuffled')}
  assert names <= set(result.metrics)
  # All of a row is read: 2 cameras of a patch, 3 tokens of the instruction.
  token, trained = result.token, result.vla
  assert token.spec.num_image_tokens == vla.spec.num_tokens == 5
  assert token.config.inputs == 'image_language'
  assert trained.spec.fingerprint != vla.spec.fingerprint
  image = dataclasses.replace(token.config, inputs='image')
  other = rl_token.make(token.params, image, trained.spec.fingerprint)
  assert other.spec.fingerprint != token.spec.fingerprint
  rl_token.save(tmp_path / 'token', token, metrics={}, command=[], seed=0)
  kept = rl_token.load(
    tmp_path / 'token', vla_fingerprint=trained.spec.fingerprint
  )
  # Padding of a short instruction is never read.
  tokens = np.random.default_rng(0).normal(size=(2, 5, 16)).astype(np.float32)
  mask = np.ones((2, 5), bool)
  mask[0, 4] = False
  z = np.asarray(kept.apply(kept.params, tokens, mask))
  tokens[:, 4] += 1.0
  again = np.asarray(kept.apply(kept.params, tokens, mask))
  np.testing.assert_array_equal(z[0], again[0])
  assert (z[1] != again[1]).any()
