"""The loop of a training of a fixed number of steps."""

import signal

import numpy as np
import pytest

from rlt_jax import signals
from rlt_jax.sitting import Sitting
from rlt_jax.vlas import step_loop


class _Kept(Sitting):
  """Keeps every state and every line of progress in memory."""

  def __init__(self, settings=()):
    self.settings, self.states, self.shown = dict(settings), {}, []

  def save(self, step, state):
    self.states[step] = state

  def show(self, text):
    self.shown.append(text)


def _run(take_step, sitting, first=0, save_every_s=3600.0):
  kept = {'sum': 10.0 * first, 'step': first, 'elapsed_s': 60.0 * first}
  return step_loop.run(
    take_step, kept, 'sum', 5,
    sitting=sitting, log_every=3, save_every_s=save_every_s,
  )  # fmt: skip


def _add(state, step, call):
  return call(np.add, state, 10.0), {'loss': np.float32(step)}


def test_all_steps_are_taken_and_first_and_last_state_are_kept():
  sitting = _Kept()
  state, history, seconds = _run(_add, sitting)
  assert state == 50.0 and seconds < 60.0
  assert [row['step'] for row in history] == [0, 3, 4]
  assert history[-1] == {'step': 4, 'loss': 4.0}
  assert {k: x['sum'] for k, x in sitting.states.items()} == {0: 0.0, 5: 50.0}
  assert len(sitting.shown) == 5 and sitting.shown[-1].startswith('step 5 of 5')


def test_a_sitting_goes_on_and_counts_the_time_before():
  sitting = _Kept({'a': 1})
  state, history, seconds = _run(_add, sitting, first=2, save_every_s=-1.0)
  assert state == 50.0 and 120.0 <= seconds < 180.0
  assert [row['step'] for row in history] == [3, 4]
  assert list(sitting.states) == [3, 4, 5]
  # A training that is complete saves nothing again.
  sitting = _Kept({'a': 1})
  assert _run(_add, sitting, first=5)[0] == 50.0 and not sitting.states


def test_a_signal_saves_the_step_in_hand():
  def stopped_in_its_second(state, step, call):
    if step == 1:
      signal.raise_signal(signal.SIGTERM)
    return state + 10.0, {'loss': 0.0}

  sitting = _Kept()
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    _run(stopped_in_its_second, sitting)
  assert list(sitting.states) == [0, 2] and sitting.states[2]['sum'] == 20.0


def test_a_loss_that_is_not_finite_ends_it():
  with pytest.raises(FloatingPointError, match='must stay finite.*step 0'):
    _run(lambda state, step, call: (state, {'loss': np.nan}), _Kept())
