import pytest

from experiments import resuming
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
