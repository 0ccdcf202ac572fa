import signal
import threading

import numpy as np
import pytest

from rlt_jax import signals
from rlt_jax import sitting as sitting_lib
from rlt_jax.vlas import training_loop


def test_rate_warms_up_and_ends_low():
  config = training_loop.LoopConfig(learning_rate=1.0, warmup_steps=3)
  rates = [training_loop.learning_rate(step, 0.0, config) for step in range(5)]
  np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1.0, 1.0])
  np.testing.assert_allclose(training_loop.learning_rate(9, 0.5, config), 0.51)
  np.testing.assert_allclose(training_loop.learning_rate(9, 1.0, config), 0.02)


class FakeFit:
  """Counts steps; a signal comes in one of them, or while it measures."""

  elapsed_s = 0.0

  def __init__(self, stopped_in):
    self.step, self.kept, self._stopped_in = 0, [], stopped_in
    self.goes_on = threading.Event()

  def advance(self, rate, call):
    del rate
    self.step += call(lambda: 1)
    if self.step == self._stopped_in:
      signal.raise_signal(signal.SIGTERM)
    return {'loss': 0.5}

  def keep(self):
    self.kept.append(self.step)

  def measure(self, call):
    def evaluate():
      if self._stopped_in == 'measure':
        signal.raise_signal(signal.SIGTERM)
        self.goes_on.wait(60.0)  # it may be compiling
      return {}, {'step': self.step}

    return call(evaluate)


def _run(fit):
  saved = []
  try:
    return training_loop.run(
      fit,
      training_loop.LoopConfig(steps=4),
      log=lambda row: None,
      save=lambda *given: saved.append(given),
      sitting=sitting_lib.Sitting(),
    )
  finally:
    fit.goes_on.set()
    assert not saved


def test_an_unbroken_training_keeps_its_last_step():
  fit = FakeFit(None)
  assert _run(fit) == ({}, {'step': 4}) and fit.kept == [4]


def test_a_signal_keeps_the_step_in_hand_and_ends_the_training():
  fit = FakeFit(2)
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    _run(fit)
  assert fit.step == 2 and fit.kept == [2]


def test_a_signal_while_it_measures_is_not_waited_for():
  fit = FakeFit('measure')
  with pytest.raises(signals.Stopped, match='SIGTERM'):
    _run(fit)
  assert fit.kept == [4]
