"""The fault campaign of the arm: what was tried, survived and lost.

  make arm-faults
  python -m tests.arm_faults --count=20 --only=kill_loop,labels

It drives the real loop, or a whole cell, in a terminal of its own, on a fake
arm whose calls are logged outside of it. All of it takes over an hour; cases
may run side by side. The status is 1 if anything was lost. Only root can fill
disks.
"""

import argparse
import pathlib
import random
import signal
import tempfile
import time

from tests.arm_faults import (
  cases,
  cell,
  labels,
  learner,
  outages,
  pedal,
  random_operator,
  refusals,
)

# Case -> how many trials there are for each of `--count`.
CASES = {
  'labels': (labels.run, 25),
  'random_operator': (random_operator.run, 25),
  'pedal': (pedal.run, 0.5),
  'kill_loop': (cases.kill_loop, 1),
  'kill_vla': (cases.kill_vla, 1),
  'kill_learner': (learner.kill_learner, 1),
  'kill_watchdog': (cell.kill_watchdog, 1),
  'kill_cell': (cell.kill_cell, 1),
  'interrupt_cell': (cell.interrupt_cell, 1),
  'hang_up_cell': (cell.hang_up_cell, 1),
  'cell_loop': (cell.kill_loop_of_cell, 1),
  'cell_parts': (cell.kill_parts_of_cell, 1),
  'damaged_weights': (learner.damaged_weights, 1),
  'slow_vla': (cases.slow_vla, 1),
  'late_vla': (outages.late_vla, 0.1),
  'full_disk': (outages.full_disk, 1),
  'stalls': (cases.stalls, 1),
  'signals': (cases.signals, 1),
  'cameras': (cases.cameras, 0.5),
  'hung_camera': (outages.hung_camera, 0.25),
  'damaged_files': (cases.damaged_files, 30),
  'bundles': (refusals.bundles, 75),
  'stations': (refusals.stations, 20),
  'hostile_clients': (refusals.hostile_clients, 10),
  'shadow': (refusals.shadow, 0.5),
}


def main() -> int:
  """Runs the campaign and returns its status."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--count', type=int, default=20)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', default=','.join(CASES))
  options = parser.parse_args()
  # Ignored under nohup, which the programs under test would inherit.
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  print(f'{"case":16} tried survived lost      s', flush=True)
  lost = 0
  with tempfile.TemporaryDirectory(prefix='arm_faults-') as folder:
    for name in options.only.split(','):
      case, factor = CASES[name]
      began = time.monotonic()
      context = cases.Context(
        pathlib.Path(folder),
        random.Random(f'{name} {options.seed}'),
        max(1, round(factor * options.count)),
        f'{name} {options.seed}',
      )
      try:
        tally = case(context)
      except Exception as error:  # one case must not cost the others
        tally = context.tally
        tally.add([f'{type(error).__name__}: {error}'])
      gone = tally.tried - tally.survived
      lost += gone
      took = time.monotonic() - began
      print(
        f'{name:16} {tally.tried:5} {tally.survived:8} {gone:4} {took:6.0f}',
        flush=True,
      )
      for note in tally.notes:
        print(f'  {note}', flush=True)
  return lost > 0


if __name__ == '__main__':
  raise SystemExit(main())
