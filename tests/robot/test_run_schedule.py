"""A run of several episodes: order, weights, rows."""

import functools
import json
import time

import numpy as np
import pytest

from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import StateOperator
from rlt_jax.robot.policy.snapshot import Snapshot
from rlt_jax.robot.run_schedule import RunPlan
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE, FakeRobot, make_handover, PERIOD


class Schedule:
  """A robot, its run, and what was prepared."""

  def __init__(self, folder, *, newest=lambda version: None, **changes):
    names = changes.keys() & {'device', 'handover'}
    fakes = {name: changes.pop(name) for name in names}
    self.robot = FakeRobot(folder / 'journal', time_limit=20, **fakes)
    self.prepared = []
    plan = {'minutes': 0.02, 'num_base_episodes': 2, 'num_final_episodes': 1}
    self.run = self.robot.schedule(
      folder,
      newest=newest,
      prepare=lambda *about: self.prepared.append(about),
      **(plan | changes),
    )
    self.folder = folder

  def rows(self):
    self.run.run()
    self.run.results.close()
    text = (self.folder / 'episodes.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_base_practice_and_evaluation_follow_each_other(tmp_path):
  schedule = Schedule(tmp_path)
  rows = schedule.rows()
  assert [x['mode'] for x in rows] == (
    ['base'] * 2 + ['practice'] * 3 + ['evaluation']
  )
  assert [x[0] for x in schedule.prepared] == [x['mode'] for x in rows]
  assert rows[-2]['robot_minutes'] == pytest.approx(60 * PERIOD / 60)
  assert rows[0]['loop']['steps'] > 20
  assert rows[0]['loop']['late_p99_s'] is not None
  assert schedule.run.results.record.steps == sum(
    x['loop']['steps'] for x in rows
  )


def test_weights_change_between_episodes_only(tmp_path):
  written = time.time() - 100.0
  layers = [x * 0.0 for x in make_layers(BUNDLE)]

  def newest(version):
    if version >= 3:
      return None
    return Snapshot(layers, version + 1, 10, 100 * version, written + version)

  schedule = Schedule(tmp_path, newest=newest, num_base_episodes=1)
  rows = schedule.rows()
  assert [x['policy_version'] for x in rows] == [0, 1, 2, 3, 3]
  assert rows[0]['policy_age_s'] is None and rows[1]['policy_age_s'] > 99
  policy = schedule.robot.controller.chunk_policy.policy
  chunk = policy.act(np.zeros(6), np.zeros(6), np.zeros((4, 3)))
  np.testing.assert_array_equal(chunk, 0.0)
  assert schedule.run.updates.updates_per_s() == pytest.approx(100.0)


def test_damaged_weights_are_refused_in_words(tmp_path):
  layers, said = [x * 0.0 for x in make_layers(BUNDLE)], []

  def newest(version):
    if version == 1:
      raise ValueError('actor.safetensors must be a whole snapshot: cut.')
    return Snapshot(layers, 1, 10, 100, time.time())

  schedule = Schedule(
    tmp_path, newest=newest, num_base_episodes=0, say=said.append
  )
  rows = schedule.rows()
  assert {x['policy_version'] for x in rows} == {1} and len(rows) > 2
  assert len(said) == len(rows) - 1 == schedule.run.updates.num_refused
  assert said[0] == (
    'actor.safetensors must be a whole snapshot: cut. The weights of before '
    'stay in use.'
  )


def _labeled(folder, kinds, **plan):
  """A schedule whose episodes are labeled in turn, after 15 steps."""

  def say(steps):
    number = len(schedule.run.results.episodes)
    return [kinds[number % len(kinds)]] if steps >= 15 else []

  schedule = Schedule(
    folder,
    device=functools.partial(
      StateOperator, say, lambda: schedule.robot.controller.progress.steps
    ),
    handover=make_handover(label_grace_s=0.0, debounce_s=0.0),
    **plan,
  )
  return schedule


def test_the_view_counts_labeled_episodes_only(tmp_path):
  kinds = [Kind.SUCCESS, Kind.ABORT, Kind.FAILURE, Kind.SUCCESS]
  schedule = _labeled(
    tmp_path, kinds, num_base_episodes=0, num_final_episodes=0, minutes=0.025
  )
  rows = schedule.rows()
  outcomes = [x['outcome'] for x in rows]
  assert outcomes[:4] == ['success', 'abort', 'failure', 'success']
  kept = [x for x in outcomes if x != 'abort']
  view = schedule.run.view(('k',))
  assert view.success == kept.count('success') / len(kept)
  assert view.num_episodes == len(rows) and view.keys == ('k',)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'minutes': -1.0}, 'minutes must be at least 0: -1.0.'),
    ({'num_base_episodes': -1}, 'num_base_episodes must be at least 0: -1.'),
  ],
)
def test_a_plan_must_be_possible(change, message):
  fields = {'minutes': 1.0, 'num_base_episodes': 0, 'num_final_episodes': 0}
  with pytest.raises(ValueError, match=message):
    RunPlan(**(fields | change))


def test_a_discarded_episode_is_recorded_again(tmp_path):
  kinds = [Kind.RERECORD, Kind.SUCCESS, Kind.RERECORD, Kind.SUCCESS]
  schedule = _labeled(
    tmp_path, kinds, num_base_episodes=1, num_final_episodes=1, minutes=0.0
  )
  rows = schedule.rows()
  assert [(x['mode'], x['outcome']) for x in rows] == [
    ('base', 'rerecord'),
    ('base', 'success'),
    ('evaluation', 'rerecord'),
    ('evaluation', 'success'),
  ]
  # From the same start.
  assert [number for _, number in schedule.prepared] == [0, 0, 0, 0]
