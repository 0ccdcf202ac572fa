"""A run of several episodes: order, weights, rows."""

import functools
import json
import re
import time

import numpy as np
import pytest

from rlt_jax.robot.arms.faults import Fault
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import StateOperator
from rlt_jax.robot.policy.snapshot import Snapshot
from rlt_jax.robot.recording import episodes
from rlt_jax.robot.run_schedule import RunPlan
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE, FakeRobot, make_handover, PERIOD
from tests.robot.test_stopping import StoppedRun


class Schedule:
  """A robot, its run, and what was prepared."""

  def __init__(self, folder, *, newest=lambda in_use: None, **changes):
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

  def newest(in_use):
    version = in_use.version if in_use else 0
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

  def newest(in_use):
    if in_use:
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


def test_a_learner_that_began_anew_is_followed_in_words(tmp_path):
  layers, said = make_layers(BUNDLE), []

  def newest(in_use):
    if in_use is None:
      return Snapshot(layers, 30, 10, 500, 1.0, learner='first')
    if in_use.learner == 'first':
      return Snapshot(layers, 1, 0, 0, 2.0, learner='second')
    return None

  schedule = Schedule(
    tmp_path, newest=newest, num_base_episodes=0, say=said.append
  )
  versions = [x['policy_version'] for x in schedule.rows()]
  assert versions == [30, *[1] * (len(versions) - 1)] and len(versions) > 2
  assert said == [
    'The learner began anew: version 1 with 0 updates takes the place of '
    'version 30 with 500.'
  ]


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


@pytest.mark.parametrize(
  'kind, without, lost',
  [
    (Kind.SUCCESS, range(10, 99), 'lost its label: what was seen before it is'),
    (Kind.SUCCESS, range(6, 9), 'has . observations that the VLA never answer'),
    (Kind.ABORT, range(10, 99), ''),
  ],
)
def test_what_the_learner_cannot_use_is_said(tmp_path, kind, without, lost):
  """Some observations had no pictures, so nobody can answer them."""
  said = []
  schedule = _labeled(
    tmp_path,
    [kind],
    num_base_episodes=0,
    num_final_episodes=0,
    minutes=0.001,
    say=said.append,
  )
  robot = schedule.robot
  ask = robot.vla.ask

  def lose(observation, stamp):
    if robot.controller.progress.steps not in without:
      ask(observation, stamp)
    else:
      robot.vla_queries.discard(stamp.stamp)

  robot.vla.ask = lose
  (row,) = schedule.rows()
  assert row['outcome'] == kind.value and row['missing_queries'] > 0
  assert len(said) == bool(lost)
  about = rf'Episode 0 \({row["outcome"]}, {row["steps"]} steps\) '
  assert all(re.match(about + lost, text) for text in said)


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


def _learned(folder):
  """Returns the outcome of the first episode, and how its parts end."""
  first, *_ = episodes.read(folder / 'journal')
  return first.outcome, [x.end for x in episodes.learnable_parts(first, 2)]


_GO_ON = [(2.0, Kind.CLEAR), (2.0, Kind.RELEASE)]


@pytest.mark.parametrize(
  'script, outcome, ends',
  [
    ([(0.7, Kind.STOP), (1.0, Kind.RERECORD)], 'rerecord', []),
    ([(0.7, Kind.STOP), (1.0, Kind.ABORT)], 'abort', []),
    ([(0.7, Kind.STOP), (1.0, Kind.SUCCESS)], 'success', ['success']),
    ([(0.7, Kind.STOW), (1.0, Kind.FAILURE)], 'failure', ['failure']),
    # Heard in one poll with the stop.
    ([(0.7, Kind.STOP), (0.7, Kind.RERECORD)], 'rerecord', []),
    ([(0.7, Kind.RERECORD), (0.7, Kind.STOP)], 'rerecord', []),
    # The first label counts, as in an episode that runs.
    (
      [(0.7, Kind.STOP), (1.0, Kind.SUCCESS), (1.5, Kind.ABORT)],
      'success',
      ['success'],
    ),
    (
      [(0.7, Kind.SUCCESS), (0.7, Kind.STOP), (1.0, Kind.ABORT)],
      'success',
      ['success'],
    ),
    # It was meant for the episode before.
    ([(0.2, Kind.STOP), (0.4, Kind.SUCCESS)], 'hold', ['cut']),
    # The file is closed by then.
    ([(0.7, Kind.STOP), (2.5, Kind.RERECORD)], 'hold', ['cut']),
    ([(0.7, Kind.STOP)], 'hold', ['cut']),
  ],
)
def test_a_stopped_episode_can_be_labeled_until_the_arm_is_released(
  tmp_path, script, outcome, ends
):
  script = sorted([*script, *_GO_ON], key=lambda x: x[0])
  stopped = StoppedRun(tmp_path, script=script).finish()
  assert stopped.outcomes[0] == outcome
  assert _learned(tmp_path) == (outcome, ends)
  row = stopped.run.results.episodes[0]
  assert row['presses'] == 1 + (outcome != 'hold')
  sent = [x for x in stopped.robot.sent if x.time < 100.72]
  assert len(sent) == row['steps']


def test_a_label_said_while_the_arm_did_not_answer_counts(tmp_path):
  """A fault takes three control steps, in which nobody is heard."""
  script = [(0.83, Kind.SUCCESS), (2.0, Kind.RELEASE)]
  faults = [Fault(kind='lost', at_s=0.8, calls=10)]
  stopped = StoppedRun(
    tmp_path, script=script, faults=faults, time_limit=60
  ).finish()
  row = stopped.run.results.episodes[0]
  assert row['outcome'] == 'success' and 'was lost' in row['cause']
  assert _learned(tmp_path)[0] == 'success'


def test_a_label_in_the_step_of_a_stop_counts_though_the_run_ends(tmp_path):
  script = [(0.7, Kind.STOP), (0.7, Kind.RERECORD)]
  stopped = StoppedRun(tmp_path, script=script)

  def on_step(step):
    if stopped.robot.loop.stopped:
      stopped.run.stop = True

  stopped.robot.on_step = on_step
  stopped.finish()
  assert stopped.outcomes == ['rerecord']


@pytest.mark.parametrize('how', ['once', 'twice', 'disable'])
def test_an_episode_is_closed_if_the_run_ends_while_it_is_stopped(
  tmp_path, how
):
  """By Ctrl-C, whose second one interrupts, or by power-off."""
  script = [(0.6, Kind.STOP), *[(2.0, Kind.DISABLE)] * (how == 'disable')]
  stopped = StoppedRun(tmp_path, script=script)
  before = stopped.robot.on_step

  def on_step(step):
    before(step)
    if how != 'disable' and len(stopped.robot.steps) == 80:
      assert list((tmp_path / 'journal').glob('*.open'))
      stopped.run.stop = True
      if how == 'twice':
        raise KeyboardInterrupt

  stopped.robot.on_step = on_step
  if how == 'twice':
    with pytest.raises(KeyboardInterrupt):
      stopped.run.run()
  else:
    stopped.finish()
  assert stopped.outcomes == ['hold']
  (row,) = stopped.run.results.episodes
  assert row['cause'] == 'hold, latched: the operator stopped the arm'
  assert row['steps'] == len(stopped.robot.sent)
  assert _learned(tmp_path) == ('hold', ['cut'])
  assert stopped.robot.arm_calls[-1] == (
    'disable' if how == 'disable' else 'hold'
  )


def test_a_label_of_a_stopped_episode_is_on_the_disk_at_once(tmp_path):
  """A loop that is killed before the release must not lose it."""
  found = []
  stopped = StoppedRun(
    tmp_path, script=[(0.6, Kind.STOP), (1.0, Kind.RERECORD), *_GO_ON]
  )
  before = stopped.robot.on_step

  def on_step(step):
    before(step)
    if len(stopped.robot.steps) == 60:
      found.append((_learned(tmp_path), stopped.state.value))

  stopped.robot.on_step = on_step
  stopped.finish()
  assert found == [(('rerecord', []), 'hold')]
  assert not stopped.sent_between(0.7, 2.0) and stopped.sent_between(2.0, 3.0)
