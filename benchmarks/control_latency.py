"""Latency of the actor in a 50 Hz control loop while a learner runs.

  OMP_NUM_THREADS=1 python -m benchmarks.control_latency

The loop wakes every 20 ms, computes a chunk with the actor and sleeps again.
`late` is the delay from the deadline to the wake-up, `answer` the time that the
actor takes; both in ms, p50, p99 and worst. The rows differ in the actor (NumPy
as on a robot host, or jitted JAX) and in where the learner runs: not at all, in
a thread of the same process, or in a separate process with default priority,
with nice 19, or with nice 19 and not on the loop's core.
"""

import functools
import os
import subprocess
import sys
import threading
import time

from absl import flags
import numpy as np

from benchmarks import out_file, timing
from experiments import launch

_Z = flags.DEFINE_integer('z', 256, 'Width Z of z_rl.')
_BATCH = flags.DEFINE_integer('batch', 64, 'Rows per batch.')
_TICKS = flags.DEFINE_integer(
  'ticks', 500, 'Control steps per table row, 20 ms each.'
)
_ROLE = flags.DEFINE_enum(
  'role',
  'loop',
  ['loop', 'learner'],
  "Internal: 'learner' runs the learner of the measured loop.",
)
_OUT = out_file.define_out()

_PERIOD = 0.02  # s
_PLACES = ('alone', 'thread', 'process', 'niced', 'niced, own core')


def tick(call, ticks: int) -> dict[str, list[float]]:
  """Runs the loop; returns p50, p99 and worst of both times, ms."""
  late, answer = [], []
  deadline = time.perf_counter() + _PERIOD
  for _ in range(ticks):
    time.sleep(max(0.0, deadline - time.perf_counter()))
    woke = time.perf_counter()
    call()
    answer.append(time.perf_counter() - woke)
    late.append(woke - deadline)
    # A missed deadline moves the later ones: the loop does not catch up.
    deadline = max(deadline + _PERIOD, time.perf_counter())
  return {
    name: [float(1e3 * x) for x in np.percentile(values, [50, 99, 100])]
    for name, values in (('late', late), ('answer', answer))
  }


class Learner:
  """Runs a learner at one of `_PLACES` during a `with` block."""

  def __init__(self, place: str):
    """Sets where the learner runs; it starts in `__enter__`."""
    self._place = place

  def __enter__(self):
    self._stop = threading.Event()
    self._cores = os.sched_getaffinity(0)
    if self._place == 'thread':
      from benchmarks import control_parts

      self._thread = threading.Thread(
        target=control_parts.learn, args=(self._stop, _Z.value, _BATCH.value)
      )
      self._thread.start()
      time.sleep(8.0)  # compiles
    elif self._place != 'alone':
      self._process = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.control_latency', '--role=learner',
         f'--z={_Z.value}', f'--batch={_BATCH.value}'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
      )  # fmt: skip
      if 'niced' in self._place:
        os.setpriority(os.PRIO_PROCESS, self._process.pid, 19)
      if 'own core' in self._place and len(self._cores) > 1:
        first, *rest = sorted(self._cores)
        os.sched_setaffinity(self._process.pid, rest)
        os.sched_setaffinity(0, [first])
      # Wait for the first update, a dot; skip what libraries print before it.
      while (sign := self._process.stdout.read(1)) != b'.':
        if not sign:
          raise OSError('The learner process must keep running: it has ended.')

  def __exit__(self, *unused_exception):
    self._stop.set()
    if self._place == 'thread':
      self._thread.join()
    elif self._place != 'alone':
      self._process.kill()
      self._process.wait()
    os.sched_setaffinity(0, self._cores)


def main() -> None:
  """Prints a row for each place and actor."""
  out_file.check(_OUT.value)
  from benchmarks import control_parts

  size = _Z.value, _BATCH.value
  if _ROLE.value == 'learner':
    tell = functools.partial(print, '.', end='', flush=True)
    control_parts.learn(threading.Event(), *size, tell)
  origin, rows = timing.origin(), []
  print(
    '| learner | actor | late p50, p99, worst (ms) | answer p50, p99, worst |\n'
    '|---|---|---|---|'
  )
  for place in _PLACES:
    with Learner(place):
      for name, call in control_parts.actors(*size).items():
        found = tick(call, _TICKS.value)
        cells = [
          ', '.join(f'{x:.2f}' for x in found[k]) for k in ('late', 'answer')
        ]
        print(f'| {place} | {name} | {cells[0]} | {cells[1]} |', flush=True)
        rows.append(
          {
            'name': f'{name}, learner {place}',
            'value': found['answer'][1],
            'unit': 'ms, p99',
          }
          | found
        )
  timing.finish(rows, origin, _OUT.value)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
