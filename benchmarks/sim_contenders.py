"""What `sim_throughput` times: worlds of a task, and their peers."""

from collections.abc import Callable, Iterator
import dataclasses
import math
import os
import pathlib

import jax
import jax.numpy as jnp
import mujoco
from mujoco import rollout
import numpy as np

from benchmarks import timing
from benchmarks.peers import playground_peg
from rlt_jax import sharding, tasks
from rlt_jax.rollout import chunk_rollout
from rlt_jax.sim.worlds import over_worlds
from rlt_jax.tasks.task import State, TaskConfig
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig

_LABELS = {
  'physics_spread': 'physics, spread over all devices',
  'playground': playground_peg.LABEL,
  'playground_spread': f'{playground_peg.LABEL}, spread',
}
_STEPS = 10  # control steps per call, the chunk size C
_CALL_S = _STEPS / TaskConfig.control_hz  # simulated s per call
_PEG_S = playground_peg.CONTROL_S
_CHECK = 8  # worlds in the programs that memory is estimated from


def available_bytes() -> int:
  """Returns the memory that a new program may take, bytes."""
  stats = jax.devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
  for line in pathlib.Path('/proc/meminfo').read_text('utf-8').splitlines():
    if line.startswith('MemAvailable'):
      return int(line.split()[1]) * 1024
  raise OSError('The memory of this machine must be readable: /proc/meminfo.')


def bytes_per_world(programs: Iterator[jax.stages.Lowered]) -> float:
  """Returns bytes per world of the largest of programs for `_CHECK` worlds."""
  largest = 0
  for program in programs:
    sizes = program.compile().memory_analysis()
    largest = max(
      largest,
      sizes.temp_size_in_bytes
      + sizes.output_size_in_bytes
      + sizes.argument_size_in_bytes,
    )
  return largest / _CHECK


def fitting(per_world: float) -> int:
  """Returns an estimate of the number of worlds that fit in memory.

  Args:
    per_world: bytes of one world.
  """
  return int(available_bytes() / per_world)


def check_memory(worlds: int, per_world: float) -> None:
  """Raises ValueError if `worlds` of `per_world` bytes do not fit."""
  need, have = worlds * per_world, available_bytes()
  if need > have:
    raise ValueError(
      f'{worlds} worlds need about {need / 2**30:.1f} GiB, more than the '
      f'{have / 2**30:.1f} GiB there are; at most {int(have // per_world)} fit.'
    )


class Bench:
  """Builds contenders for any number of worlds."""

  def __init__(self, task: str = PracticeConfig.task_name):
    """Loads a task by its name."""
    self.task_name = task
    self.task = tasks.load(task)
    self.rollout_fns = chunk_rollout.make(self.task)

  def make(self, kind: str, worlds: int) -> timing.Contender:
    """Returns a row's contender; its unit of work is a simulated second."""
    call = getattr(self, kind)(worlds)
    name = row_name(kind, worlds, self.task_name)
    return timing.Contender(name, worlds * _CALL_S, call)

  def start(self, worlds: int) -> State:
    """Returns fresh worlds."""
    keys = jax.random.split(jax.random.PRNGKey(0), worlds)
    return self.rollout_fns.begin(keys, _CHECK)

  def lowered(self, kind: str) -> Iterator[jax.stages.Lowered]:
    """Yields a row's programs for `_CHECK` worlds, not compiled."""
    keys = jax.random.split(jax.random.PRNGKey(0), _CHECK)
    state = jax.eval_shape(jax.vmap(self.task.reset), keys)
    commands = jax.ShapeDtypeStruct(
      (_CHECK, _STEPS, self.task.spec.action_dim), jnp.float32
    )
    if kind == 'physics':
      yield self.rollout_fns.chunk.lower(state, commands)
    elif kind == 'warp':
      yield self._warp_chunk().lower(state, commands)
    elif kind in ('cameras', 'vla'):
      seen = state
      for stage in self.task.render:
        yield stage.lower(seen)
        seen = jax.eval_shape(stage, seen)
    elif kind == 'playground':
      run, start = playground_peg.make(_CHECK, round(_CALL_S / _PEG_S))
      yield run.lower(start)

  def physics(self, worlds: int) -> Callable:
    """Physics, reward and outcome; each call starts from the same states."""
    state = self.start(worlds)
    hold = jnp.repeat(state.command[:, None], _STEPS, axis=1)
    return lambda: jax.block_until_ready(
      self.rollout_fns.chunk(state, hold).final
    )

  def physics_spread(self, worlds: int) -> Callable:
    """Physics, reward and outcome, the worlds split over all devices."""
    mesh, step = _mesh(worlds), over_worlds(self.task.step)

    def hold(state: State) -> State:
      command = state.command
      return jax.lax.fori_loop(
        0, _STEPS, lambda _, state: step(state, command), state
      )

    run = self.task.compile(sharding.shard_map_data(hold, mesh))
    state = sharding.shard(self.start(worlds), mesh)
    return lambda: jax.block_until_ready(run(state))

  def warp(self, worlds: int) -> Callable:
    """Physics, reward and outcome with MuJoCo Warp."""
    state, run = self.start(worlds), self._warp_chunk()
    hold = jnp.repeat(state.command[:, None], _STEPS, axis=1)
    return lambda: jax.block_until_ready(run(state, hold).final)

  def _warp_chunk(self) -> Callable:
    config = dataclasses.replace(self.task.config, impl='warp')
    return chunk_rollout.make(tasks.load(self.task_name, config)).chunk

  def cameras(self, worlds: int) -> Callable:
    """As `physics`, with images of all cameras at each control step."""
    state = self.start(worlds)
    step = self.task.compile(over_worlds(self.task.step))

    def call():
      now = state
      for _ in range(_STEPS):
        now = step(now, state.command)
        images = self.task.render(now)
      jax.block_until_ready((now, images))

    return call

  def vla(self, worlds: int) -> Callable:
    """Rollout of the VLA alone, queried every ten control steps."""
    state, key = self.start(worlds), jax.random.PRNGKey(1)
    perception = setup_lib.make(PracticeConfig()).perception
    decode = jax.jit(perception.space.decode)

    def call():
      features = perception.perceive(state, key)
      commands = decode(features.reference[:, :_STEPS], features.pose)
      jax.block_until_ready(self.rollout_fns.chunk(state, commands).final)

    return call

  def c(self, worlds: int) -> Callable:
    """C MuJoCo in float64, one thread per core, from the home pose."""
    model = self.task.make_bench().model
    data = [mujoco.MjData(model) for _ in range(os.cpu_count())]
    size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    first = np.zeros(size)
    mujoco.mj_getState(
      model, data[0], first, mujoco.mjtState.mjSTATE_FULLPHYSICS
    )
    substeps = _STEPS * self.task.config.substeps
    control = np.zeros((worlds, substeps, model.nu))
    pool = rollout.Rollout(nthread=os.cpu_count())
    return lambda: pool.rollout(
      model, data, np.repeat(first[None], worlds, axis=0), control
    )

  def playground(
    self, worlds: int, mesh: jax.sharding.Mesh | None = None
  ) -> Callable:
    """Physics of MuJoCo Playground's peg task, on one device or a mesh."""
    run, start = playground_peg.make(worlds, round(_CALL_S / _PEG_S), mesh)
    return lambda: jax.block_until_ready(run(start))

  def playground_spread(self, worlds: int) -> Callable:
    """As `playground`, the worlds split over all devices."""
    return self.playground(worlds, _mesh(worlds))


def _mesh(worlds: int) -> jax.sharding.Mesh:
  """Returns a mesh of the most devices that divide the worlds evenly."""
  return sharding.make_mesh(math.gcd(worlds, jax.device_count()))


def row_name(kind: str, worlds: int, task: str = 'ethernet') -> str:
  """Returns the name of a row; Ethernet, the default, is not named."""
  name = f'{_LABELS.get(kind, kind)}, {worlds} worlds'
  return name if task == 'ethernet' else f'{task}: {name}'


def report(
  kind: str,
  worlds: int,
  timed: dict[str, timing.Timed],
  per_world: float,
  task: str = 'ethernet',
) -> dict:
  """Prints a row and returns it."""
  name = row_name(kind, worlds, task)
  result, peer = timed[name], timed.get(row_name('c', worlds, task))
  peg = kind.startswith('playground')
  control_s = _PEG_S if peg else 1 / TaskConfig.control_hz
  low, high = (rate / control_s for rate in result.spread)
  memory = '–'
  if per_world:
    memory = f'{per_world / 2**10:.0f}; {fitting(per_world):,}'
  print(
    f'| {name} | {result.median / control_s:,.0f} ({low:,.0f}–{high:,.0f}) | '
    f'{result.median:,.1f} | {result.first_s:.1f} | {memory} |'
  )
  ours = kind.removesuffix('_spread') in ('physics', 'warp') and peer
  return {
    'name': name,
    'value': result.median / control_s,
    'unit': 'control steps/s',
    'quartiles': [low, high],
    'control_s': control_s,
    'simulated_s_per_s': result.median,
    'first_call_s': result.first_s,
    'ratio_to_best_peer': result.median / peer.median if ours else None,
    'bytes_per_world': per_world or None,
    'worlds_that_fit': fitting(per_world) if per_world else None,
  }
