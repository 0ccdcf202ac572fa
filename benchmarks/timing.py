"""Interleaved timing, and the device and versions behind each figure."""

from collections.abc import Callable, Mapping
import json
import os
import shlex
import sys
import time
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import files
from rlt_jax.reporting import provenance


class Contender(NamedTuple):
  """One thing to time.

  name: in the table. work: units per call, such as updates. call: runs once
  and waits for the result.
  """

  name: str
  work: int
  call: Callable[[], Any]


class Timed(NamedTuple):
  """Result of one contender.

  rates: [rounds] units per second. first_s: seconds of the first call, which
  compiles.
  """

  rates: np.ndarray
  first_s: float

  @property
  def median(self) -> float:
    """Median rate."""
    return float(np.median(self.rates))

  @property
  def spread(self) -> tuple[float, float]:
    """Lower and upper quartile of the rates."""
    low, high = np.percentile(self.rates, [25, 75])
    return float(low), float(high)


def peak_bytes() -> int:
  """Returns the device's largest use of memory so far; 0 if it does not say."""
  import jax

  memory = jax.local_devices()[0].memory_stats() or {}
  return memory.get('peak_bytes_in_use', 0)


def interleave(contenders: list[Contender], rounds: int) -> dict[str, Timed]:
  """Times the contenders in turn, so that a slow minute slows all of them.

  The first call of each is timed separately, the second warms up. The order
  differs from round to round (from a fixed seed), so that no contender always
  runs after the same other one, with that one's data in the caches.
  """
  first, rates = {}, {c.name: [] for c in contenders}
  for c in contenders:
    start = time.perf_counter()
    c.call()
    first[c.name] = time.perf_counter() - start
    c.call()
  rng = np.random.default_rng(0)
  for _ in range(rounds):
    for i in rng.permutation(len(contenders)):
      c = contenders[i]
      start = time.perf_counter()
      c.call()
      rates[c.name].append(c.work / (time.perf_counter() - start))
  return {n: Timed(np.array(r), first[n]) for n, r in rates.items()}


def show_every_core() -> None:
  """Makes each CPU core a JAX device; call it before any other use of JAX.

  The first device still uses all cores.
  """
  import jax

  if 'host_platform_device_count' not in os.environ.get('XLA_FLAGS', ''):
    jax.config.update('jax_num_cpu_devices', len(os.sched_getaffinity(0)))


def origin(extra: Mapping[str, str] | None = None) -> dict[str, Any]:
  """Returns device, versions, commit and threads, for every row."""
  return {
    'device': provenance.device(),
    'commit': provenance.commit(),
    'versions': provenance.versions() | dict(extra or {}),
    'threads': {
      'available': len(os.sched_getaffinity(0)),
      'XLA_FLAGS': os.environ.get('XLA_FLAGS', ''),
      'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', ''),
    },
  }


def finish(
  rows: list[dict[str, Any]], origin: Mapping[str, Any], path: str
) -> None:
  """Prints the origin; with a path, writes one JSON line per row.

  Args:
    rows: figures.
    origin: what `origin` returns.
    path: of the file; its folder must exist. '' writes no file.
  """
  print(json.dumps(origin))
  if not path:
    return
  # Every row has the same fields; None where there is no peer or no floor.
  blank = {'ratio_to_best_peer': None, 'fraction_of_floor': None}
  command = {'command': shlex.join(['python', *sys.orig_argv[1:]])}
  files.write_atomically(
    path,
    ''.join(json.dumps(blank | row | origin | command) + '\n' for row in rows),
  )
