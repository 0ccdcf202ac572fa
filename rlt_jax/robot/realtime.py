"""Real-time priority, and processor time that a hypervisor took."""

import os

_PRIORITY = 10  # above all ordinary work, below the kernel's own
_NICE = -10
_BACKGROUND_NICE = 10
_CPU = '/proc/stat'


def request_priority() -> str:
  """Requests priority over other processes; returns what was granted.

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


def run_in_background() -> None:
  """Lets this thread run after all others; for work without a deadline."""
  try:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, _BACKGROUND_NICE)
  except (OSError, AttributeError):  # not allowed; not Linux
    pass


def read_stolen() -> tuple[int, int] | None:
  """Returns processor time that a hypervisor took, and all of it, in jiffies.

  None on a host that does not report it.
  """
  try:
    with open(_CPU, encoding='utf-8') as file:
      name, *counts = file.readline().split()
  except OSError:
    return None
  if name != 'cpu' or len(counts) < 8:
    return None
  times = [int(x) for x in counts[:8]]  # the first includes guest time
  return times[7], sum(times)


def stolen_share(
  before: tuple[int, int] | None, after: tuple[int, int] | None
) -> float | None:
  """Returns the share that was stolen between two `read_stolen`."""
  if before is None or after is None or after[1] <= before[1]:
    return None
  return (after[0] - before[0]) / (after[1] - before[1])
