"""A profile of one contender, and its costliest operations by name."""

import collections
from collections.abc import Iterable
import pathlib
import re

import jax

from benchmarks.timing import Contender

# An operation of XLA's and the line of the program that it comes from.
_NAMED = re.compile(r'^\s*(?:ROOT )?%?([\w.-]+) = .*op_name="([^"]+)"', re.M)


def record(
  folder: str, contender: Contender, *, program: str = '', calls: int = 20
) -> None:
  """Profiles warm calls and prints the ten costliest operations.

  Args:
    folder: new; TensorBoard's and Perfetto's viewers open what it holds.
    contender: what to profile.
    program: its compiled text, which says what XLA's operations are.
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
  """Returns nanoseconds by operation, all threads together.

  A loop's time is what is left of it without the operations inside.
  """
  spent: collections.Counter = collections.Counter()
  for file in sorted(pathlib.Path(folder).rglob('*.xplane.pb')):
    profile = jax.profiler.ProfileData.from_file(str(file))
    for plane in profile.planes:
      for line in plane.lines:
        # XLA marks its own operations; the rest is the host's Python.
        _add_own(spent, (
          (event.start_ns, event.duration_ns, event.name)
          for event in line.events
          if any(key == 'hlo_op' for key, _ in event.stats)
        ))  # fmt: skip
  return spent


def _add_own(
  spent: collections.Counter, events: Iterable[tuple[float, float, str]]
) -> None:
  """Adds (start, duration, name) of one thread, less what lies inside each."""
  around: list[tuple[float, str]] = []  # (end, name) of what is under way
  for start, duration, name in sorted(events, key=lambda e: (e[0], -e[1])):
    while around and around[-1][0] <= start:
      around.pop()
    spent[name] += duration
    if around:
      spent[around[-1][1]] -= duration
    around.append((start + duration, name))
