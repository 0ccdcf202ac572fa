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

import contextlib
import dataclasses
import functools
import itertools
import math
import pathlib

from absl import app, flags
import jax
import jax.numpy as jnp

from benchmarks import floor, inputs, out_file, timing
from benchmarks.peers import fast_path, naive_jax
from experiments import launch
from rlt_jax import replay, sharding
from rlt_jax.agents import rlt

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

# Forms of the PyTorch update, and whether torch.compile is used.
_FORMS = (
  ('plain', False),
  ('plain', True),
  ('stacked', False),
  ('stacked', True),
  ('rlinf', False),
)


class Case:
  """The contenders of one size; they share networks and rows."""

  def __init__(self, z_dim: int, hidden: tuple[int, ...], batch: int):
    """Builds the networks and the rows."""
    self.size = {
      'z_dim': z_dim,
      'hidden': hidden,
      'batch': batch,
      'critics': _CRITICS.value,
      'capacity': _CAPACITY.value,
    }
    self.shared = inputs.make_shared(**self.size)
    self.sizes, self.config = self.shared.sizes, self.shared.config
    self.nets, self.start = self.shared.nets, self.shared.start
    self.ring = replay.make_ring(_CAPACITY.value, batch)
    self.stored = replay.ReplayState(
      rows=self.shared.rows,
      pointer=jnp.int32(0),
      size=jnp.int32(_CAPACITY.value),
    )

  @property
  def name(self) -> str:
    """The size as text."""
    s = self.sizes
    return (
      f'z {s.z_dim}, {len(s.hidden)}x{s.hidden[0]}, batch {s.batch}, '
      f'{s.critics} critics'
    )

  def _nets(self, cycles: int) -> rlt.Networks:
    config = dataclasses.replace(self.config, cycles_per_dispatch=cycles)
    return dataclasses.replace(self.nets, config=config)

  def _update(self, cycles: int):
    update = functools.partial(rlt.update, self._nets(cycles), self.ring.sample)
    return jax.jit(update, donate_argnums=0)

  def fused(self, cycles: int) -> timing.Contender:
    """Returns this package's update, with `cycles` cycles per dispatch."""
    step = self._update(cycles)
    held = [self.start()]

    def call():
      for _ in range(max(1, _CYCLES.value // cycles)):
        held[0], metrics = step(held[0], self.stored)
      jax.block_until_ready((held[0], metrics))

    work = 2 * cycles * max(1, _CYCLES.value // cycles)
    return timing.Contender(f'rlt_jax, {cycles} cycles', work, call)

  def program(self) -> str:
    """Returns the compiled HLO text of a dispatch."""
    step = self._update(_CYCLES.value)
    return step.lower(self.start(), self.stored).compile().as_text()

  def agents(self, count: int, devices: int = 1) -> timing.Contender:
    """Returns this package's update of `count` agents that share the rows.

    The agents are split over the devices.
    """
    mesh = sharding.make_mesh(devices)
    nets = self._nets(_CYCLES.value)

    def update(stored, state):
      return rlt.update(nets, self.ring.sample, state, stored)

    many = sharding.shard_map_data(jax.vmap(update, (None, 0)), mesh, shared=1)
    step = jax.jit(many, donate_argnums=1)
    keys = jax.random.split(jax.random.key(0), count)
    init = jax.vmap(lambda key: rlt.init(key, self.nets))
    stored, held = (
      sharding.replicate(self.stored, mesh),
      [sharding.shard(init(keys), mesh)],
    )

    def call():
      held[0], metrics = step(stored, held[0])
      jax.block_until_ready((held[0], metrics))

    work = 2 * _CYCLES.value * count
    name = f'rlt_jax, {count} agents'
    if devices > 1:
      name += f' on {devices} devices'
    return timing.Contender(name, work, call)

  def naive(self) -> timing.Contender:
    """Returns an update of separate jitted calls with a NumPy replay."""
    peer = naive_jax.NaiveUpdate(
      self.nets,
      self.start(),
      self.shared.rows,
      _CAPACITY.value,
      0,
    )
    return _cycles_of('naive JAX', peer, lambda: peer.state)

  def torch(self) -> list[timing.Contender]:
    """Returns the PyTorch updates, with the same parameters and rows."""
    from benchmarks.peers import torch_update

    rows = torch_update.tensors(self.shared.rows)
    return [
      _cycles_of(
        _torch_name(*form),
        torch_update.make(self.shared, rows, *form),
        lambda: None,
      )
      for form in _FORMS
    ]

  def fast_torch(self, peers) -> list[timing.Contender]:
    """Returns the PyTorch updates in a process with MKL's fast code."""
    return [
      timing.Contender(
        f'{_torch_name(*form)}, fast path',
        2 * _CYCLES.value,
        functools.partial(peers.call, i),
      )
      for i, form in enumerate(_FORMS)
    ]


def _torch_name(form, compiled):
  return f'PyTorch {form}' + (', compiled' if compiled else '')


def _cycles_of(name, peer, wait):
  def call():
    for _ in range(_CYCLES.value):
      losses = peer.cycle()
    jax.block_until_ready((losses, wait()))

  return timing.Contender(name, 2 * _CYCLES.value, call)


def measure(case: Case) -> list[dict]:
  """Times one size; returns its rows."""
  contenders = [case.fused(_CYCLES.value), case.fused(1), case.naive()]
  for count in map(int, _AGENTS.value):
    contenders.append(case.agents(count))
    devices = math.gcd(count, jax.device_count())
    if devices > 1:
      contenders.append(case.agents(count, devices))
  with contextlib.ExitStack() as stack:
    if _PEERS.value:
      contenders += case.torch()
      if fast_path.is_needed():
        size = case.size | {'cycles': _CYCLES.value}
        peers = stack.enter_context(fast_path.Peers(size, _FORMS))
        contenders += case.fast_torch(peers)
    timed = timing.interleave(contenders, _ROUNDS.value)
  least = floor.floor_seconds(case.sizes)
  moved = floor.bytes_moved(case.sizes) / floor.bandwidth()
  ours = contenders[0].name
  peers = [n for n in timed if not n.startswith('rlt_jax')]
  best = max(timed[n].median for n in peers)
  print(
    f'\n{case.name}: {floor.flops(case.sizes) / 1e9:.2f} GFLOP an update, '
    f'floor {1 / least:.0f} a second by products, {1 / moved:.0f} by bytes'
  )
  print('| form | updates/s (quartiles) | against ours | of the floor |')
  print('|---|---|---|---|')
  rows = []
  for name, result in timed.items():
    low, high = result.spread
    # By products, not by bytes: most of the data stays in the caches.
    share = result.median * least
    print(
      f'| {name} | {result.median:.0f} ({low:.0f}–{high:.0f}) | '
      f'{result.median / timed[ours].median:.2f} | {share:.2f} |'
    )
    rows.append(
      {
        'name': f'{case.name}: {name}',
        'value': result.median,
        'unit': 'updates/s',
        'quartiles': [low, high],
        'first_call_s': result.first_s,
        'ratio_to_best_peer': result.median / best,
        'fraction_of_floor': share,
        'floor': {'by_products': 1 / least, 'by_bytes': 1 / moved},
      }
    )
  return rows


def main(argv: list[str]) -> None:
  """Times every size, prints tables and writes rows."""
  out_file.check(_OUT.value)
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
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
  rows = []
  for z_dim, hidden, batch in itertools.product(
    _Z_DIMS.value, _HIDDEN.value, _BATCHES.value
  ):
    width, layers = (int(x) for x in hidden.split('x'))
    case = Case(int(z_dim), (width,) * layers, int(batch))
    if _TRACE.value:
      from benchmarks import trace

      trace.record(
        _TRACE.value, case.fused(_CYCLES.value), program=case.program()
      )
      return
    rows += measure(case)
  timing.finish(rows, timing.origin(extra), _OUT.value)


if __name__ == '__main__':
  app.run(main)
