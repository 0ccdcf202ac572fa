"""What `update_latency` times: the agent's update, and its peers."""

from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import floor, inputs, timing
from benchmarks.peers import fast_path, naive_jax
from rlt_jax import replay, sharding
from rlt_jax.agents import rlt

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

  def __init__(self, cycles: int, **size: Any):
    """Builds the networks and the rows.

    Args:
      cycles: of 2 updates, per dispatch.
      **size: for `inputs.make_shared`.
    """
    self.cycles, self.size = cycles, size
    self.shared = inputs.make_shared(**self.size)
    self.sizes, self.config = self.shared.sizes, self.shared.config
    self.nets, self.start = self.shared.nets, self.shared.start
    self.ring = replay.make_ring(size['capacity'], size['batch'])
    self.stored = replay.ReplayState(
      rows=self.shared.rows,
      pointer=jnp.int32(0),
      size=jnp.int32(size['capacity']),
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
      for _ in range(max(1, self.cycles // cycles)):
        held[0], metrics = step(held[0], self.stored)
      jax.block_until_ready((held[0], metrics))

    work = 2 * cycles * max(1, self.cycles // cycles)
    return timing.Contender(f'rlt_jax, {cycles} cycles', work, call)

  def program(self) -> str:
    """Returns the compiled HLO text of a dispatch."""
    step = self._update(self.cycles)
    return step.lower(self.start(), self.stored).compile().as_text()

  def agents(self, count: int, devices: int = 1) -> timing.Contender:
    """Returns this package's update of `count` agents that share the rows.

    The agents are split over the devices.
    """
    mesh = sharding.make_mesh(devices)
    nets = self._nets(self.cycles)

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

    work = 2 * self.cycles * count
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
      self.size['capacity'],
      0,
    )
    return _cycles_of('naive JAX', peer, self.cycles, lambda: peer.state)

  def torch(self) -> list[timing.Contender]:
    """Returns the PyTorch updates, with the same parameters and rows."""
    from benchmarks.peers import torch_update

    rows = torch_update.tensors(self.shared.rows)
    return [
      _cycles_of(
        _torch_name(*form),
        torch_update.make(self.shared, rows, *form),
        self.cycles,
        lambda: None,
      )
      for form in _FORMS
    ]

  def fast_torch(self, peers) -> list[timing.Contender]:
    """Returns the PyTorch updates in a process with MKL's fast code."""
    return [
      timing.Contender(
        f'{_torch_name(*form)}, fast path',
        2 * self.cycles,
        functools.partial(peers.call, i),
      )
      for i, form in enumerate(_FORMS)
    ]


def _torch_name(form, compiled):
  return f'PyTorch {form}' + (', compiled' if compiled else '')


def _cycles_of(name, peer, cycles, wait):
  def call():
    for _ in range(cycles):
      losses = peer.cycle()
    jax.block_until_ready((losses, wait()))

  return timing.Contender(name, 2 * cycles, call)


def measure(
  case: Case, *, agents: Sequence[int], rounds: int, peers: bool
) -> list[dict]:
  """Times one size; returns its rows.

  Args:
    case: the size.
    agents: also times these numbers of agents.
    rounds: timed calls of each contender.
    peers: whether to time PyTorch.
  """
  contenders = [case.fused(case.cycles), case.fused(1), case.naive()]
  for count in agents:
    contenders.append(case.agents(count))
    devices = math.gcd(count, jax.device_count())
    if devices > 1:
      contenders.append(case.agents(count, devices))
  with contextlib.ExitStack() as stack:
    if peers:
      contenders += case.torch()
      if fast_path.is_needed():
        size = case.size | {'cycles': case.cycles}
        process = stack.enter_context(fast_path.Peers(size, _FORMS))
        contenders += case.fast_torch(process)
    timed = timing.interleave(contenders, rounds)
  least = floor.floor_seconds(case.sizes)
  moved = floor.bytes_moved(case.sizes) / floor.bandwidth()
  ours = contenders[0].name
  others = [n for n in timed if not n.startswith('rlt_jax')]
  best = max(timed[n].median for n in others)
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
