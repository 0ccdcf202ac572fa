"""TensorBoard is an extra: a full disk costs its file, not the run."""

import errno
import sys
import threading
import types

import pytest

from rlt_jax.reporting import metrics, tensorboard

_FULL = OSError(errno.ENOSPC, 'No space left on device')


class FakeWriter:
  """Notes what it is told; raises in the method named in `full`."""

  full = ''
  calls: list

  def __init__(self, folder, **kwargs):
    type(self).calls = [kwargs['purge_step']]
    self.happen('open')

  def happen(self, name, *args):
    self.calls.append((name, *args))
    if name == self.full:
      raise _FULL

  def add_scalar(self, *args):
    self.happen('add', *args)

  def close(self):
    self.happen('close')


@pytest.fixture
def fake(monkeypatch):
  class Fake(FakeWriter):
    pass

  module = types.SimpleNamespace(SummaryWriter=Fake)
  monkeypatch.setitem(sys.modules, 'tensorboardX', module)
  return Fake


@pytest.mark.parametrize(
  'full, calls',
  [
    ('open', [None, ('open',)]),
    ('add', [None, ('open',), ('add', 'env_steps', 1, 1)]),
    (
      'close',
      [
        *(None, ('open',), ('add', 'env_steps', 1, 1)),
        *(('add', 'env_steps', 2, 2), ('close',)),
      ],
    ),
  ],
)
def test_a_full_disk_ends_the_board_and_not_the_run(
  tmp_path, capsys, fake, full, calls
):
  fake.full = full
  with metrics.MetricsWriter(tmp_path) as writer:
    writer.write({'env_steps': 1})
    writer.write({'env_steps': 2})
  assert fake.calls == calls
  assert len(metrics.read_metrics(tmp_path)) == 2
  said = capsys.readouterr().err
  assert 'tensorboard could not be written: [Errno' in said
  assert said.count('\n') == 1


def test_closing_on_a_full_disk_hides_no_error_before_it(tmp_path, fake):
  writer = metrics.MetricsWriter(tmp_path)
  writer._file = types.SimpleNamespace(
    close=lambda: (_ for _ in ()).throw(_FULL)
  )
  writer.close()
  assert fake.calls[-1] == ('close',)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
  def refuse(*_, **__):
    raise OSError(errno.EACCES, 'Permission denied')

  module = types.SimpleNamespace(SummaryWriter=refuse)
  monkeypatch.setitem(sys.modules, 'tensorboardX', module)
  with pytest.raises(OSError, match='Permission'):
    tensorboard.Board(tmp_path, None)


def test_a_board_whose_thread_has_died_is_dropped(
  tmp_path, capsys, monkeypatch
):
  pytest.importorskip('tensorboardX')
  monkeypatch.setattr(threading, 'excepthook', lambda _: None)
  board = tensorboard.Board(tmp_path, None)
  events = board._writer.file_writer.event_writer
  died = threading.Event()

  def fail(*_):
    died.set()
    raise _FULL

  monkeypatch.setattr(events._ev_writer, 'write_event', fail)
  # More at once than tensorboardX's own queue holds.
  board.write({'env_steps': 1} | {f'q_{i}': 1.0 for i in range(40)})
  assert died.wait(timeout=30.0)
  events._worker.join()
  board.write({'env_steps': 2})
  board.close()
  monkeypatch.setattr(events._ev_writer, 'flush', fail)
  events.close()  # as tensorboardX does when the process ends
  said = capsys.readouterr().err
  assert 'tensorboard could not be written, such as on a full disk' in said
  assert said.count('\n') == 1


def test_what_is_written_reads_back(tmp_path):
  pytest.importorskip('tensorboardX')
  board = tensorboard.Board(tmp_path, None)
  board.write({'env_steps': 7, 'q_mean': 0.5, 'phase': 'a'})
  board.close()
  board.close()
  (file,) = (tmp_path / 'tensorboard').iterdir()
  content = file.read_bytes()
  assert b'q_mean' in content and b'phase' not in content
