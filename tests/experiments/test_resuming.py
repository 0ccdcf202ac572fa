import pytest

from experiments import launch, resuming
from rlt_jax.export import checkpoint
from rlt_jax.lock import LockedError


def test_a_second_training_into_a_folder_is_refused(tmp_path):
  folder = tmp_path / 'a'
  with (
    resuming.sitting(folder, ['python', 'x'], False),
    pytest.raises(LockedError, match='must have one user: process'),
    resuming.sitting(folder, ['python', 'x'], False),
  ):
    pass
  with resuming.sitting(folder, ['python', 'x'], False):
    pass


def test_a_stop_after_a_failed_save_says_which_step_is_kept(
  tmp_path, monkeypatch, capsys
):
  def fail(*_):
    raise checkpoint.SaveError('No space left on device.')

  monkeypatch.setattr(launch, '_how_to_go_on', lambda saved: f'{saved=}')
  monkeypatch.setattr(launch.signals, 'leave', lambda _: None)
  with resuming.sitting(tmp_path / 'a', ['python', 'x'], False) as sitting:
    sitting.restore({'x': 1.0}, {})
    sitting.save(1200, {'x': 1.0})
    monkeypatch.setattr(checkpoint, 'save', fail)
    sitting.save(1300, {'x': 1.0})
    raise KeyboardInterrupt
  assert capsys.readouterr().err == (
    '\nStep 1,200 is kept: what came after it could not be saved. saved=True\n'
  )
