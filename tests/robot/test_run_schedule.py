"""Attempt after attempt: order, weights, rows."""

import json
import time

import numpy as np
import pytest

from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import When
from rlt_jax.robot.policy.snapshot import Snapshot
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from tests.robot.conftest import make_layers
from tests.robot.fakes import BUNDLE, PERIOD, Rig


class TaskSetup:
  """A rig, its session, and what was prepared."""

  def __init__(self, folder, *, newest=lambda than: None, **plan):
    self.rig = Rig(folder / 'journal', time_limit=20)
    self.prepared = []
    fields = {'minutes': 0.02, 'num_base_episodes': 2, 'num_final_episodes': 1}
    self.session = RobotRun(
      self.rig.loop,
      self.rig.pilot,
      plan=RunPlan(**(fields | plan)),
      folder=folder,
      control_hz=1.0 / PERIOD,
      clock=self.rig.clock,
      prepare=lambda *said: self.prepared.append(said),
      newest=newest,
    )
    self.folder = folder

  def run(self):
    self.session.run()
    self.session.close()
    text = (self.folder / 'attempts.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_base_practice_and_evaluation_follow_each_other(tmp_path):
  cell = TaskSetup(tmp_path)
  rows = cell.run()
  assert [x['mode'] for x in rows] == (
    ['base'] * 2 + ['practice'] * 3 + ['evaluation']
  )
  assert [x[0] for x in cell.prepared] == [x['mode'] for x in rows]
  assert rows[-2]['robot_minutes'] == pytest.approx(60 * PERIOD / 60)
  assert rows[0]['loop']['steps'] > 20
  assert rows[0]['loop']['late_p99_s'] is not None
  assert cell.session.record.steps == sum(x['loop']['steps'] for x in rows)


def test_weights_change_between_attempts_only(tmp_path):
  written = time.time() - 100.0
  layers = [x * 0.0 for x in make_layers(BUNDLE)]

  def newest(than):
    if than >= 3:
      return None
    return Snapshot(layers, than + 1, 10, 100 * than, written + than)

  cell = TaskSetup(tmp_path, newest=newest, num_base_episodes=1)
  rows = cell.run()
  assert [x['policy_version'] for x in rows] == [0, 1, 2, 3, 3]
  assert rows[0]['policy_age_s'] is None and rows[1]['policy_age_s'] > 99
  chunk = cell.rig.pilot.policy.act(np.zeros(6), np.zeros(6), np.zeros((4, 3)))
  np.testing.assert_array_equal(chunk, 0.0)
  assert cell.session.updates_per_s() == pytest.approx(100.0)


def test_the_view_counts_labelled_attempts_only(tmp_path):
  cell = TaskSetup(
    tmp_path, num_base_episodes=0, num_final_episodes=0, minutes=0.025
  )
  said = [Kind.SUCCESS, Kind.ABORT, Kind.FAILURE, Kind.SUCCESS]

  def say(pilot):
    attempt = len(cell.session.attempts)
    return [said[attempt % 4]] if pilot.steps >= 15 else []

  pilot = cell.rig.pilot
  pilot._device = When(say, lambda: pilot, clock=cell.rig.clock)
  fields = vars(pilot._handover_config) | {
    'label_grace_s': 0.0,
    'debounce_s': 0.0,
  }
  pilot._handover_config = type(pilot._handover_config)(**fields)
  rows = cell.run()
  outcomes = [x['outcome'] for x in rows]
  assert outcomes[:4] == ['success', 'abort', 'failure', 'success']
  kept = [x for x in outcomes if x != 'abort']
  view = cell.session.view(('k',))
  assert view.success == kept.count('success') / len(kept)
  assert view.attempts == len(rows) and view.keys == ('k',)


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
