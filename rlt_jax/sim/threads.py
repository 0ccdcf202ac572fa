"""Threads of XLA's CPU client: enough, so that many worlds never lock up."""

import os

_FEWEST = 8


def spare() -> None:
  """Asks XLA for at least eight threads; call it before JAX starts a device.

  From 64 matrices on, jaxlib 0.10 spreads a batched factorisation over the very
  threads that wait for it. A physics step has two that do not depend on each
  other, and an evaluation two groups of worlds: where there are as few threads
  as cores, and two to four cores, all of them wait for ever. `NPROC` is how
  XLA is told; what the user has set stays. Once a device has been used it is
  too late, and nothing happens.
  """
  if (os.cpu_count() or 1) < _FEWEST:
    os.environ.setdefault('NPROC', str(_FEWEST))
