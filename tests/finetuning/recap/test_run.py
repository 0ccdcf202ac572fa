"""RECAP on a point: what is recorded, which prompts, and a run to its end."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rlt_jax.finetuning import parts, result
from rlt_jax.finetuning.recap import run as recap_run
from rlt_jax.finetuning.recap.config import NEGATIVE, POSITIVE, RecapConfig
from rlt_jax.finetuning.recap.episodes import EpisodeRecorder
from rlt_jax.finetuning.recap.run import RecapRun
from rlt_jax.types import Outcome
from rlt_jax.vlas.pi_small import pi_vla
from tests.finetuning import test_finetune_run
from tests.finetuning.test_finetune_run import fitted  # noqa: F401
from tests.finetuning.test_recorder import (  # noqa: F401
  move,
  rollout,
  task,
  worlds,
)

_METHOD = RecapConfig(
  rounds=1, demos=8, demo_stride=4, steps=4, batch_size=8, draws=1,
  warmup_steps=1, least=2, held_out=0.3, value_steps=5, value_units=8,
)  # fmt: skip
_CONFIG = test_finetune_run._CONFIG


def test_every_ended_episode_is_kept_with_who_drove(
  task,  # noqa: F811
  rollout,  # noqa: F811
  worlds,  # noqa: F811
):
  kept = EpisodeRecorder(task, worlds=2, stride=5)
  # The first leaves 0.3 m, which fails; the second is out of time at 40 steps.
  states, chunks = worlds, 0
  while (np.asarray(states.outcome) == Outcome.RUNNING).any():
    after = move(rollout, states, [0.02, 0.0])
    # A person drives the second chunk of the second world.
    kept.add(states, after, np.array([False, chunks == 1]))
    states, chunks = after.final, chunks + 1
  assert len(kept.finish(states)) == 2
  columns = kept.columns()
  lengths = [len(x.commands) for x in kept.demos]
  assert lengths[1] == 40 and lengths[0] < 30
  frames = [len(x.frame_steps) for x in kept.demos]
  np.testing.assert_array_equal(
    columns['steps_left'][frames[0] :], [40, 35, 30, 25, 20, 15, 10, 5]
  )
  assert columns['steps_left'][0] == lengths[0]
  assert not columns['succeeded'].any()
  human = columns['human'].tolist()
  assert human == [False] * frames[0] + [False] * 2 + [True] * 2 + [False] * 4


def test_an_episode_that_goes_on_is_left_out(task, rollout, worlds):  # noqa: F811
  kept = EpisodeRecorder(task, worlds=2, stride=5)
  after = move(rollout, worlds, [1e-3, 1e-3])
  kept.add(worlds, after, np.array([True, False]))
  assert kept.finish(after.final) == [] and kept.columns() == {}


def test_prompts_say_which_frames_are_good():
  texts = {
    '': np.array([1, 2, 0]),
    POSITIVE: np.array([1, 2, 7]),
    NEGATIVE: np.array([1, 2, 8]),
  }
  other = np.array([5, 0, 0])
  prompt = np.stack([texts[''], texts[''], other] * 1000).astype(np.int32)
  positive = np.tile([True, False, True], 1000)

  def marked(share):
    rng = np.random.default_rng(0)
    return recap_run.mark_prompts(
      prompt, positive, texts, unmarked_share=share, rng=rng
    )

  found = marked(0.0)
  np.testing.assert_array_equal(
    found[:3], [texts[POSITIVE], texts[NEGATIVE], other]
  )
  found = marked(0.3)
  bare = (found[positive.nonzero()[0][::2]] == texts['']).all(axis=1)
  assert np.mean(bare) == pytest.approx(0.3, abs=0.05)
  assert (found[2::3] == other).all()
  assert (prompt[0] == texts['']).all()  # not changed in place


def test_a_vla_of_other_words_is_refused():
  vla = pi_vla.open_vla()
  (instruction,) = {x.instruction for x in vla.tasks} or {'insert it'}
  marked = recap_run.with_marks(vla, instruction)
  assert marked.spec.fingerprint == vla.spec.fingerprint
  tokens = [
    marked.tokenize(recap_run.marked(instruction, word))
    for word in (POSITIVE, NEGATIVE)
  ]
  assert (tokens[0] != tokens[1]).sum() == 1
  several = pi_vla.load(pi_vla.shipped_folder().parent / 'four_tasks')
  with pytest.raises(ValueError, match="can read the words 'positive'"):
    recap_run.with_marks(several, several.tasks[0].instruction)


def test_a_run_marks_trains_and_drives_with_the_mark(
  tmp_path,
  monkeypatch,
  fitted,  # noqa: F811
):
  setup, start = fitted
  setup = setup._replace(
    task=dataclasses.replace(
      setup.task,
      spec=dataclasses.replace(setup.task.spec, instruction='go there'),
    )
  )
  monkeypatch.setattr(parts, 'make_setup', lambda *_: (setup, start))
  monkeypatch.setattr(result.assets_lib, 'demonstrations', lambda *_: None)
  folder = tmp_path / 'a'
  run = RecapRun(
    workdir=folder, config=_CONFIG, finetuning=_METHOD, command='x'
  )
  run.practice()
  run.report()
  run.close()
  report = json.loads((folder / 'report.json').read_text('utf-8'))
  (found,) = report['finetuning']['rounds']
  about = found['value']
  assert set(about) == {'rank', 'positive', 'human', 'succeeded'}
  assert about['human'] > 0.0 and about['positive'] >= about['human']
  tuned = pi_vla.load(folder / 'vla-0')
  assert tuned.spec.fingerprint != start.spec.fingerprint
  # The trained VLA hears the mark, the one before does not.
  states = setup.rollout_fns.begin(jax.random.split(jax.random.key(1), 4), 4)

  def chunks(vla, prompt=None, method=run.driven_by):
    perceive = method(vla).perception.perceive
    return np.asarray(perceive(states, jax.random.key(2), prompt).reference)

  np.testing.assert_array_equal(
    chunks(tuned), chunks(tuned, 'go there positive')
  )
  assert not np.array_equal(chunks(tuned), chunks(tuned, 'go there negative'))
  np.testing.assert_array_equal(chunks(start), chunks(start, 'go there'))
