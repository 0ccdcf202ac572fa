"""Sittings of a training in its folder."""

import numpy as np
import pytest

from rlt_jax import sitting as sitting_lib
from rlt_jax.export import checkpoint
from rlt_jax.training import folder_sitting
from rlt_jax.training.folder_sitting import FolderSitting

_STATE = {'weights': np.arange(3.0), 'elapsed_s': 0.0}
_SETTINGS = {'batch': 3}


def begin(folder, steps=(0,)):
  sitting = FolderSitting(folder, resume=False, command=['python', 'x'])
  state = sitting.restore(_STATE, _SETTINGS)
  for step in steps:
    sitting.save(step, state | {'elapsed_s': float(step)})
  return sitting


def test_a_sitting_goes_on_where_the_last_one_was_saved(tmp_path, capsys):
  first = begin(tmp_path / 'a', steps=(0, 2, 5))
  assert not first.resumed and first.is_saved()
  sitting = FolderSitting(tmp_path / 'a', resume=True, command=['other'])
  assert sitting.resumed and sitting.settings == _SETTINGS
  state = sitting.restore(_STATE, _SETTINGS)
  assert state['elapsed_s'] == 5.0 and sitting.first_step == 5
  np.testing.assert_array_equal(state['weights'], _STATE['weights'])
  assert capsys.readouterr().out == 'Continues after step 5.\n'
  sitting.save(6, state)
  assert folder_sitting.first_command(tmp_path / 'a') == ['python', 'x']
  sitting.finish()
  assert not sitting.is_saved() and list((tmp_path / 'a').iterdir()) == []


def test_a_full_disk_ends_nothing_after_the_first_save(
  tmp_path, monkeypatch, capsys
):
  def fail(*_):
    raise checkpoint.SaveError('No space left on device.')

  sitting = begin(tmp_path / 'a')
  monkeypatch.setattr(checkpoint, 'save', fail)
  assert sitting.describe_saved() == ''
  sitting.save(1, _STATE)
  assert 'Not saved: No space left on device.' in capsys.readouterr().out
  assert sitting.describe_saved().startswith('Step 0 is kept: what came after')
  with pytest.raises(checkpoint.SaveError):
    begin(tmp_path / 'b')
  monkeypatch.undo()
  sitting.save(2, _STATE)
  assert sitting.describe_saved() == ''


def test_resume_needs_an_interrupted_training(tmp_path):
  for folder in (tmp_path, tmp_path / 'none'):
    with pytest.raises(ValueError, match='folder of an interrupted training'):
      FolderSitting(folder, resume=True)
  checkpoint.save(tmp_path, 0, _STATE, {'format_version': 1})
  with pytest.raises(ValueError, match='checkpoints of something else'):
    FolderSitting(tmp_path, resume=True)


def test_a_new_training_needs_a_new_folder(tmp_path):
  begin(tmp_path / 'a')
  with pytest.raises(ValueError, match='--resume continues the interrupted'):
    begin(tmp_path / 'a')
  (tmp_path / 'thesis.txt').write_text('mine')
  with pytest.raises(ValueError, match=r"holds \['a', 'thesis.txt'\]"):
    begin(tmp_path)
  with pytest.raises(ValueError, match='must not be a file'):
    begin(tmp_path / 'thesis.txt')
  with pytest.raises(ValueError, match='in one that is writable'):
    begin(tmp_path / 'thesis.txt' / 'a')


def test_a_start_that_saved_nothing_may_be_begun_again(tmp_path):
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'lock').touch()
  begun = begin(tmp_path, steps=())
  assert not begun.is_saved() and begun.describe_saved() == ''
  assert begin(tmp_path).is_saved()


@pytest.mark.parametrize(
  'seconds, text', [(40.2, '40 s'), (720, '12 min'), (12_600, '3.5 h')]
)
def test_durations_are_spelled(seconds, text):
  assert sitting_lib.spell(seconds) == text


def test_progress_has_the_goal_and_the_time_left():
  text = sitting_lib.spell_progress(1200, 6000, 300.0, 0.2, loss=0.123456)
  assert text == 'step 1,200 of 6,000 | 5 min, about 20 min left | loss 0.1235'
  assert sitting_lib.spell_progress(0, 5, 1.0, 0.0) == 'step 0 of 5 | 1 s'
