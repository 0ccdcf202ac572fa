import json

import numpy as np

from rlt_jax.robot.control.safety_limits import Limit
from rlt_jax.robot.control.telemetry import blank_step, EpisodeRecord


def _step(**changes):
  return blank_step(0.0, 0.001, 2)._replace(**changes)


def _record():
  record = EpisodeRecord(2)
  changed = np.array([Limit.STEP | Limit.RANGE, 0], np.uint8)
  record.add(_step(source='policy', inference_age_s=0.1, changed=changed))
  record.add(_step(source='human', late_s=0.004, io_s=0.002))
  record.add(_step(verdict='The action must be 0 to 0.5 s old: 0.6 s.'))
  record.add(_step(verdict='The action must be 0 to 0.5 s old: 0.7 s.'))
  record.overruns = 2
  return record


def test_a_record_is_json_with_the_reports_keys():
  record = json.loads(json.dumps(_record().to_dict()))
  assert record['steps'] == 4 and record['overruns'] == 2
  assert 0.001 <= record['late_p50_s'] <= 0.00113
  assert record['late_p99_s'] == record['late_worst_s'] == 0.004
  assert record['io_worst_s'] == 0.002
  assert record['inference_age_p99_s'] == 0.1
  assert record['sources'] == {'policy': 1, 'human': 1, 'none': 2}
  assert record['not_sent'] == 2
  assert record['verdicts'] == {'The action must be 0 to 0.5 s old': 2}
  assert record['changed'] == {
    'range': [1, 0], 'step': [1, 0], 'velocity': [0, 0], 'workspace': [0, 0]
  }  # fmt: skip


def test_nothing_recorded_is_json_too():
  record = json.loads(json.dumps(EpisodeRecord(2).to_dict()))
  assert record['steps'] == 0 and record['late_p50_s'] is None


def test_two_episodes_are_a_run():
  record = _record()
  record.merge(_record())
  record = record.to_dict()
  assert record['steps'] == 8 and record['overruns'] == 4
  assert record['sources']['none'] == 4
  assert record['changed']['step'] == [2, 0]
  assert sum(record['late_histogram'].values()) == 8
