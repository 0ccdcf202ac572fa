"""A profile of one contender, and its costliest operations by name."""

import collections
import pathlib

import jax

from benchmarks.timing import Contender


def record(folder: str, contender: Contender, *, calls: int = 20) -> None:
  """Profiles warm calls and prints the ten costliest operations.

  Args:
    folder: new; TensorBoard's and Perfetto's viewers open what it holds.
    contender: what to profile.
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
  spent = costs(folder)
  total = sum(spent.values())
  print(f'{contender.name}: {total / work / 1e3:.1f} us of operations a unit')
  for name, nanoseconds in spent.most_common(10):
    print(f'{nanoseconds / work / 1e3:9.2f} us  {nanoseconds / total:5.1%}  '
          f'{name}')  # fmt: skip


def costs(folder: str) -> collections.Counter:
  """Returns nanoseconds by operation, all threads together."""
  files = sorted(pathlib.Path(folder).rglob('*.xplane.pb'))
  spent: collections.Counter = collections.Counter()
  for file in files:
    profile = jax.profiler.ProfileData.from_file(str(file))
    for plane in profile.planes:
      for line in plane.lines:
        for event in line.events:
          # XLA marks its own operations; the rest is the host's Python.
          if any(key == 'hlo_op' for key, _ in event.stats):
            spent[event.name] += event.duration_ns
  return spent
