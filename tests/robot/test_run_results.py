"""The file of a run's episodes: written, cut, full disk, read again."""

import json
import math
import os

import numpy as np
import pytest

from rlt_jax.robot import run_results
from rlt_jax.robot.control.telemetry import blank_step, EpisodeRecord
from rlt_jax.robot.episode import EpisodeResult
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.run_results import FILE, RunResults


def make_record(seed):
  record, rng = EpisodeRecord(3), np.random.default_rng(seed)
  for i in range(20):
    step = blank_step(i * 0.02, rng.exponential(0.001), 3)
    record.add(
      step._replace(
        io_s=rng.exponential(0.002),
        inference_age_s=math.nan if i % 3 else 0.04,
        changed=np.uint8([i % 4, 0, 1]),
        verdict='' if i % 5 else 'A new chunk must come: VLA lost',
      )
    )
  record.overruns = seed
  return record


def add(results, seed, mode='practice'):
  result = EpisodeResult(
    mode, EpisodeOutcome.SUCCESS, 20 + seed, '', 1.5, 2, 3, 4
  )
  results.add(
    result, make_record(seed), chunks={'n': seed}, practice_steps=20 * seed
  )


def test_a_run_goes_on_with_its_results(tmp_path):
  first = RunResults(tmp_path)
  for seed, mode in enumerate(('base', 'practice', 'practice')):
    add(first, seed, mode)
    assert first.flush() == ''
  first.close()
  again = RunResults(tmp_path)
  assert again.episodes == first.episodes
  assert again.episodes[0]['outcome'].counted
  assert again.record.to_dict() == first.record.to_dict()
  assert set(again.by_mode) == {'base', 'practice'}
  add(again, 3)
  assert again.flush() == ''
  again.close()
  assert [x['steps'] for x in RunResults(tmp_path).episodes] == [20, 21, 22, 23]


def test_an_incomplete_row_is_cut_off(tmp_path):
  results = RunResults(tmp_path)
  add(results, 0)
  results.flush()
  results.close()
  path = tmp_path / FILE
  whole = path.read_bytes()
  path.write_bytes(whole + whole[:40])
  results = RunResults(tmp_path)
  assert len(results.episodes) == 1
  results.close()
  assert path.read_bytes() == whole


@pytest.mark.parametrize('change', [{'outcome': 'won'}, {'loop': {}}, None])
def test_a_row_of_something_else_is_named(tmp_path, change):
  results = RunResults(tmp_path)
  add(results, 0)
  results.flush()
  results.close()
  path = tmp_path / FILE
  row = [] if change is None else json.loads(path.read_text()) | change
  with path.open('a') as file:
    file.write(json.dumps(row) + '\n')
  with pytest.raises(ValueError, match='a row of an episode in line 2'):
    RunResults(tmp_path)


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
  results, room = RunResults(tmp_path), [10]

  def write(fd, data):
    if not room:
      raise OSError(28, 'No space left on device')
    return os.pwrite(fd, bytes(data)[: room.pop()], 0)

  monkeypatch.setattr(run_results.os, 'write', write)
  add(results, 0)
  assert 'is full: the episode waits for room' in results.flush()
  assert (tmp_path / FILE).read_bytes() == b''
  monkeypatch.undo()
  add(results, 1)
  assert results.flush() == ''
  results.close()
  assert len(RunResults(tmp_path).episodes) == 2
