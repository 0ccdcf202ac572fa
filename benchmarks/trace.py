"""Profiles one contender and lists its slowest operations by name."""

import collections
from collections.abc import Iterable
import pathlib
import re

import jax

from benchmarks.timing import Contender

# An XLA operation and the source line that it comes from.
_NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]+)"', re.M)


def record(
  folder: str, contender: Contender, *, program: str = '', calls: int = 20
) -> None:
  """Profiles compiled calls and prints the ten slowest operations.

  Args:
    folder: must not exist; TensorBoard and Perfetto open its files.
    contender: what to profile.
    program: its compiled HLO text, to find the source of each operation.
    calls: how many calls.

  Raises:
    ValueError: the folder exists.
  """
  if pathlib.Path(folder).exists():
    raise ValueError(f'The trace folder must be new: {folder}.')
  contender.call()
  contender.call()
  with jax.profiler.trace(folder, create_perfetto_trace=True):
    for _ in range(calls):
      contender.call()
  work = calls * contender.work
  spent, origins = costs(folder), dict(_NAMED.findall(program))
  total = sum(spent.values())
  print(f'{contender.name}: {total / work / 1e3:.1f} us of operations a unit')
  for name, nanoseconds in spent.most_common(10):
    print(f'{nanoseconds / work / 1e3:9.2f} us  {nanoseconds / total:5.1%}  '
          f'{name}  {origins.get(name, "")}'.rstrip())  # fmt: skip


def costs(folder: str) -> collections.Counter:
  """Returns ns by operation, summed over all threads.

  The time of a loop excludes the operations inside it.
  """
  spent: collections.Counter = collections.Counter()
  for file in sorted(pathlib.Path(folder).rglob('*.xplane.pb')):
    profile = jax.profiler.ProfileData.from_file(str(file))
    for plane in profile.planes:
      for line in plane.lines:
        # XLA's operations have hlo_op; the other events are host Python.
        _add_own(spent, (
          (event.start_ns, event.duration_ns, event.name)
          for event in line.events
          if any(key == 'hlo_op' for key, _ in event.stats)
        ))  # fmt: skip
  return spent


def _add_own(
  spent: collections.Counter, events: Iterable[tuple[float, float, str]]
) -> None:
  """Adds the events (start, duration, name) of one thread, each without the
  time of the events inside it."""
  open_events: list[tuple[float, str]] = []  # (end, name), outermost first
  for start, duration, name in sorted(events, key=lambda e: (e[0], -e[1])):
    while open_events and open_events[-1][0] <= start:
      open_events.pop()
    spent[name] += duration
    if open_events:
      spent[open_events[-1][1]] -= duration
    open_events.append((start + duration, name))
