"""Control steps a second against the number of worlds.

  python -m benchmarks.sim_throughput
  python -m benchmarks.sim_throughput --worlds=64,1024 --with=physics,cameras

A control step is 20 ms of one world: five physics steps and the verdict. Rows:
`physics` alone; `cameras` renders all three at every control step; `vla` asks
the frozen VLA once every ten, as practice does; `c` is C MuJoCo stepping the
same MJCF on every core, without verdicts. Compile time is apart, contenders
take turns. Memory a world is what the compiled program asks for.
"""

from collections.abc import Callable
import os
import pathlib

from absl import app, flags
import jax
import jax.numpy as jnp
import mujoco
from mujoco import rollout
import numpy as np

from benchmarks import timing
from rlt_jax.rollout import cell as cell_lib
from rlt_jax.rollout import play
from rlt_jax.rollout.config import PracticeConfig
from rlt_jax.sim import insertion

_KINDS = ('physics', 'cameras', 'vla', 'c')
_WORLDS = flags.DEFINE_list('worlds', ['8', '64'], 'Worlds at a time.')
_WITH = flags.DEFINE_list('with', ['physics', 'cameras', 'vla', 'c'], 'Rows.')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Interleaved repeats.')
_OUT = flags.DEFINE_string('out', '', 'JSON lines to write.')

_STEPS = 10  # control steps a call, the chunk C
_CHECK = 8  # worlds of the program that memory is estimated from


def available_bytes() -> int:
  """Returns the memory that a new program may take, bytes."""
  stats = jax.devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
  for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
    if line.startswith('MemAvailable'):
      return int(line.split()[1]) * 1024
  raise OSError('The memory of this machine must be readable: /proc/meminfo.')


def bytes_per_world(lowered_by_worlds: Callable) -> float:
  """Returns bytes a world of a program, from its compilation at 8 worlds."""
  analysis = lowered_by_worlds(_CHECK).compile().memory_analysis()
  total = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
  return (total + analysis.argument_size_in_bytes) / _CHECK


def check_memory(worlds: int, per_world: float) -> None:
  """Raises a ValueError if so many worlds do not fit."""
  need, have = worlds * per_world, available_bytes()
  if need > have:
    raise ValueError(
      f'{worlds} worlds need about {need / 2**30:.1f} GiB, more than the '
      f'{have / 2**30:.1f} GiB there are; at most {int(have / per_world)} fit.'
    )


class Bench:
  """Builds contenders for any number of worlds."""

  def __init__(self):
    """Loads the task, its cameras, and the frozen parts."""
    self.config = PracticeConfig()
    self.cell = cell_lib.make(self.config)
    self.task = self.cell.task
    self.play = play.make_play(self.task)
    self.begin = play.make_begin(self.task, _CHECK)

  def start(self, worlds: int) -> insertion.State:
    """Returns fresh worlds."""
    return self.begin(jax.random.split(jax.random.PRNGKey(0), worlds))

  def lowered(self, worlds: int):
    """Returns the physics program of so many worlds, not compiled."""
    state = jax.eval_shape(
      jax.vmap(self.task.reset), jax.random.split(jax.random.PRNGKey(0), worlds)
    )
    commands = jax.ShapeDtypeStruct((worlds, _STEPS, 14), jnp.float32)
    return self.play.lower(state, commands)

  def physics(self, worlds: int) -> Callable:
    """Physics and verdicts; every call starts from the same states."""
    state = self.start(worlds)
    hold = jnp.repeat(state.command[:, None], _STEPS, axis=1)
    return lambda: jax.block_until_ready(self.play(state, hold).final)

  def cameras(self, worlds: int) -> Callable:
    """The same, with all cameras at each control step."""
    state = self.start(worlds)
    step = insertion.jit(jax.vmap(self.task.step))

    def call():
      now = state
      for _ in range(_STEPS):
        now = step(now, state.command)
        images = self.cell.render(now)
      jax.block_until_ready((now, images))

    return call

  def vla(self, worlds: int) -> Callable:
    """The base policy, replanned every ten steps."""
    state, key = self.start(worlds), jax.random.PRNGKey(1)
    perception = self.cell.perception
    decode = jax.jit(perception.space.decode)

    def call():
      percept = perception.perceive(state, key)
      commands = decode(percept.reference[:, :_STEPS], percept.pose)
      jax.block_until_ready(self.play(state, commands).final)

    return call

  def c(self, worlds: int) -> Callable:
    """C MuJoCo in float64, one thread a core, at the home pose."""
    model = self.task.scene.mj_model
    data = [mujoco.MjData(model) for _ in range(os.cpu_count())]
    size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    first = np.zeros(size)
    mujoco.mj_getState(
      model, data[0], first, mujoco.mjtState.mjSTATE_FULLPHYSICS
    )
    substeps = _STEPS * self.config.task.substeps
    control = np.zeros((worlds, substeps, model.nu))
    pool = rollout.Rollout(nthread=os.cpu_count())
    return lambda: pool.rollout(
      model, data, np.repeat(first[None], worlds, axis=0), control
    )


def main(argv: list[str]) -> None:
  """Times every kind at every number of worlds."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  unknown = set(_WITH.value) - set(_KINDS)
  if unknown:
    raise app.UsageError(f'--with must list {_KINDS}: {sorted(unknown)}.')
  bench = Bench()
  per_world = bytes_per_world(bench.lowered)
  print(
    f'{per_world / 2**10:.0f} KiB a world; about '
    f'{int(available_bytes() / per_world):,} worlds fit.'
  )
  counts = [int(w) for w in _WORLDS.value]
  try:
    check_memory(max(counts), per_world)
  except ValueError as error:
    raise SystemExit(f'error: {error}') from None
  contenders = [
    timing.Contender(
      f'{kind}, {worlds} worlds', worlds * _STEPS, getattr(bench, kind)(worlds)
    )
    for kind in _WITH.value
    for worlds in counts
  ]
  timed = timing.interleave(contenders, _ROUNDS.value)
  origin, rows = timing.origin(), []
  print('| row | control steps/s (quartiles) | first call, s |\n|---|---|---|')
  for name, result in timed.items():
    low, high = result.spread
    kind, worlds = name.split(', ')
    peer = timed.get(f'c, {worlds}') if kind == 'physics' else None
    print(
      f'| {name} | {result.median:,.0f} ({low:,.0f}–{high:,.0f}) | '
      f'{result.first_s:.1f} |'
    )
    rows.append(
      {
        'name': name,
        'value': result.median,
        'unit': 'control steps/s',
        'quartiles': [low, high],
        'first_call_s': result.first_s,
        'ratio_to_best_peer': peer and result.median / peer.median,
        'bytes_per_world': per_world,
      }
    )
  timing.finish(rows, origin, _OUT.value)


if __name__ == '__main__':
  app.run(main)
