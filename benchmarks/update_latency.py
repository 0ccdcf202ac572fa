"""Speed of the agent's update, with its lower bound and other implementations.

  python -m benchmarks.update_latency
  python -m benchmarks.update_latency --z_dims=256 --peers --rounds=20
  python -m benchmarks.update_latency --trace=/tmp/trace

An update is one critic step and half an actor step, with replay sampling, noise
and target update. Every contender starts from the same parameters and rows. The
first call, which compiles, is timed separately; contenders take turns. The
floor is the time of the update's matrix products alone, each shape timed by
itself in this run; a second bound is the bytes that an update moves, divided by
the copy bandwidth.

`--trace` profiles the first size instead and prints its slowest operations.
`--peers` needs `pip install -r benchmarks/requirements-peers.txt`. PyTorch's
matrix library is slower on processors that are not Intel's; there PyTorch is
timed a second time with the fast code (`peers/fast_path.py`, which needs a C
compiler).
"""

import itertools
import pathlib

from absl import flags

from benchmarks import out_file, timing
from benchmarks.peers import fast_path
from experiments import launch

_Z_DIMS = flags.DEFINE_list(
  'z_dims', ['256', '2048'], 'Widths Z of z_rl to time.'
)
_HIDDEN = flags.DEFINE_list(
  'hidden', ['256x2'], 'Hidden layers to time, as WIDTHxLAYERS, such as 512x3.'
)
_BATCHES = flags.DEFINE_list('batches', ['256'], 'Batch sizes to time, rows.')
_CRITICS = flags.DEFINE_integer('critics', 2, 'Number of critics.')
_CAPACITY = flags.DEFINE_integer(
  'capacity', 100_000, 'Replay rows on the device.'
)
_CYCLES = flags.DEFINE_integer(
  'cycles', 10, 'Cycles of 2 updates per dispatch.'
)
_AGENTS = flags.DEFINE_list(
  'agents',
  [],
  'Also time these numbers of agents, vmapped, on one and on all devices.',
)
_ROUNDS = flags.DEFINE_integer('rounds', 10, 'Timed calls per contender.')
_PEERS = flags.DEFINE_bool('peers', False, 'Also time PyTorch.')
_TRACE = launch.define_path(
  'trace', '', 'New folder for a profile; times nothing then.'
)
_OUT = out_file.define_out()


def main() -> None:
  """Times every size, prints tables and writes rows."""
  out_file.check(_OUT.value)
  if _TRACE.value and pathlib.Path(_TRACE.value).exists():
    raise SystemExit(
      f'error: --trace must name a folder that is new: {_TRACE.value}.'
    )
  if _AGENTS.value:
    timing.show_every_core()
  extra = {}
  if _PEERS.value:
    try:
      import torch
    except ImportError:
      raise SystemExit(
        'error: --peers needs PyTorch: pip install -r '
        'benchmarks/requirements-peers.txt'
      ) from None
    extra['torch'] = torch.__version__
    if fast_path.is_needed():
      try:
        fast_path.compiler()
      except FileNotFoundError as error:
        raise SystemExit(f'error: {error}') from None
  from benchmarks import update_contenders

  rows = []
  for z_dim, hidden, batch in itertools.product(
    _Z_DIMS.value, _HIDDEN.value, _BATCHES.value
  ):
    width, layers = (int(x) for x in hidden.split('x'))
    case = update_contenders.Case(
      _CYCLES.value,
      z_dim=int(z_dim),
      hidden=(width,) * layers,
      batch=int(batch),
      critics=_CRITICS.value,
      capacity=_CAPACITY.value,
    )
    if _TRACE.value:
      from benchmarks import trace

      trace.record(
        _TRACE.value, case.fused(case.cycles), program=case.program()
      )
      return
    rows += update_contenders.measure(
      case,
      agents=[int(count) for count in _AGENTS.value],
      rounds=_ROUNDS.value,
      peers=_PEERS.value,
    )
  timing.finish(rows, timing.origin(extra), _OUT.value)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False, saves_nothing=True)
