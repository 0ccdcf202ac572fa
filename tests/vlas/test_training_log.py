import json

import pytest

from rlt_jax import sitting as sitting_lib
from rlt_jax.vlas import training_log


@pytest.mark.parametrize(
  'bad', [b'\xff\x00', b'{"step": 1', b'5', b'[]', b'{}', b'{"step": "a"}', b'']
)
def test_a_resumed_training_leaves_out_what_is_no_row(tmp_path, bad):
  file = tmp_path / 'metrics.jsonl'
  lines = [b'{"step": 1}', bad, b'{"step": 2}', b'{"step": 3}']
  file.write_bytes(b'\n'.join(lines))
  sitting = sitting_lib.Sitting()
  sitting.first_step = 2
  training_log.TrainingLog(tmp_path, sitting).add({'step': 4, 'loss': 0.5})
  rows = [json.loads(line) for line in file.read_text().splitlines()]
  assert rows == [{'step': 1}, {'step': 2}, {'step': 4, 'loss': 0.5}]


def test_a_new_training_begins_its_own_file(tmp_path):
  file = tmp_path / 'metrics.jsonl'
  file.write_bytes(b'\xff')
  training_log.TrainingLog(tmp_path, sitting_lib.Sitting()).add({'step': 1})
  assert file.read_text() == '{"step": 1}\n'
