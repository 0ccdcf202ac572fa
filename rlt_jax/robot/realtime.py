"""What the host gives a loop that must not be late."""

import os

_PRIORITY = 10  # above all ordinary work, below the kernel's own
_NICE = -10
_CPU = '/proc/stat'


def ask() -> str:
  """Asks for the processor before others; returns what was given, in words.

  Threads started later inherit it, so call it first. The host decides: root,
  CAP_SYS_NICE or a line in limits.conf (rtprio, nice).
  """
  try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    return f'SCHED_FIFO {_PRIORITY}'
  except (OSError, AttributeError):  # not allowed; not Linux
    pass
  try:
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    return f'nice {_NICE}'
  except OSError:
    return 'none'


def stolen() -> tuple[int, int] | None:
  """Returns what a hypervisor kept of the processors, and all, in jiffies.

  None on a host that does not say.
  """
  try:
    with open(_CPU) as file:
      name, *counts = file.readline().split()
  except OSError:
    return None
  if name != 'cpu' or len(counts) < 8:
    return None
  times = [int(x) for x in counts[:8]]  # guests are in the first already
  return times[7], sum(times)


def stolen_share(
  before: tuple[int, int] | None, after: tuple[int, int] | None
) -> float | None:
  """Returns which part of the time between two `stolen` was."""
  if before is None or after is None or after[1] <= before[1]:
    return None
  return (after[0] - before[0]) / (after[1] - before[1])
