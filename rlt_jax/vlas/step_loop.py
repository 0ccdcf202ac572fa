"""The loop of a training of a fixed number of steps, in several sittings."""

from collections.abc import Callable, Mapping
import time
from typing import Any

from rlt_jax import signals
from rlt_jax.sitting import Sitting, spell_progress
from rlt_jax.vlas.training_loop import check_finite

# (state, step, call) -> next state and figures []. `call` calls a function that
# may compile, and gives it up at a signal.
TakeStep = Callable[
  [Any, int, Callable[..., Any]], tuple[Any, Mapping[str, Any]]
]


def run(
  take_step: TakeStep,
  kept: Mapping[str, Any],
  name: str,
  steps: int,
  *,
  sitting: Sitting,
  log_every: int,
  save_every_s: float,
) -> tuple[Any, list[dict[str, float]], float]:
  """Takes the steps that are left.

  Args:
    take_step: see `TakeStep`.
    kept: of `sitting.restore`: the state under `name`, 'step', 'elapsed_s'.
    name: of the state in what is saved.
    steps: of the whole training.
    sitting: shows progress and keeps states.
    log_every: steps between two figures; the last step has them too.
    save_every_s: wall clock between two saves.

  Returns:
    The last state, the figures of this sitting by step, and the wall clock of
    all sittings, s.

  Raises:
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  state, first = kept[name], int(kept['step'])
  began = time.monotonic() - kept['elapsed_s']

  def keep(step: int) -> None:
    spent = time.monotonic() - began
    sitting.save(step, {name: state, 'step': step, 'elapsed_s': spent})

  if not sitting.resumed:
    keep(0)
  history, figures, saved = [], {}, time.monotonic()
  with signals.StopRequest('after this step') as stop:
    for step in range(first, steps):
      state, found = take_step(state, step, stop.call)
      if step % log_every == 0 or step == steps - 1:
        figures = {key: float(value) for key, value in found.items()}
        check_finite(figures, step)
        history.append({'step': step} | figures)
      done, spent = step + 1, time.monotonic() - began
      sitting.show(spell_progress(done, steps, spent, done / steps, **figures))
      if stop.requested or time.monotonic() - saved > save_every_s:
        keep(done)
        stop.raise_if_stopped()
        saved = time.monotonic()
    if first < steps:
      keep(steps)
  return state, history, time.monotonic() - began
