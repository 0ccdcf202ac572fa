"""The plots' files: whole or as before."""

from matplotlib.figure import Figure
import numpy as np
import pytest

from rlt_jax.reporting import plots, statistics

_FIGURES = {
  'success': 0.5,
  'success_low': 0.2,
  'success_high': 0.8,
  'throughput_per_10min': 9.0,
  'throughput_low': 5.0,
  'throughput_high': 12.0,
}


def _steps(path):
  outcome = np.array([1, 0])
  episodes = statistics.Episodes(outcome == 1, np.array([80, 90]), outcome)
  plots.save_steps(path, {'base': episodes}, 50.0)


def _learning(path):
  figures = [_FIGURES, _FIGURES]
  plots.save_learning(path, [5.0, 10.0], figures, figures, _FIGURES, None)


def _variants(path):
  points = [
    (5.0, _FIGURES | {'by_seed': [_FIGURES]}),
    (10.0, _FIGURES | {'by_seed': [_FIGURES]}),
  ]
  plots.save_variants(path, {'rlt': points})


def _training(path):
  assert plots.save_training(path, [{'env_steps': 50, 'q_mean': 0.5}], 50.0)


@pytest.mark.parametrize('draw', [_steps, _learning, _variants, _training])
def test_a_full_disk_keeps_the_plot_before(tmp_path, monkeypatch, draw):
  path = tmp_path / 'a.png'
  draw(path)
  before = path.read_bytes()
  assert before.startswith(b'\x89PNG')

  def fail(self, file, **_):
    if hasattr(file, 'write'):
      file.write(b'half')
    else:
      path.write_bytes(b'half')
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(Figure, 'savefig', fail)
  with pytest.raises(OSError, match='No space'):
    draw(path)
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]
