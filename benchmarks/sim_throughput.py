"""Control steps per second for several numbers of worlds.

  python -m benchmarks.sim_throughput
  python -m benchmarks.sim_throughput --worlds=64,1024 --with=physics,cameras
  python -m benchmarks.sim_throughput --tasks=ethernet,charger,screw,zip_tie \\
      --with=physics,cameras,c

A control step is 20 ms of one world: five physics steps and the computation of
reward and outcome. Rows:

  physics: physics, reward and outcome.
  physics_spread: the same, with the worlds split over all devices (on a CPU,
    over all cores).
  warp: the same as physics with MuJoCo Warp, if it is installed.
  cameras: also renders the three cameras at every control step.
  vla: also queries the frozen VLA every ten control steps, as practice does;
    of Ethernet, which it was trained on.
  c: C MuJoCo steps the same MJCF on every core, without reward and outcome.
  playground, playground_spread: physics alone, with the settings of MuJoCo
    Playground's peg task on primitive geometry. Its control step is shorter, so
    every row also gives simulated seconds per second.

Every task has rows of its own; those of `vla` and `playground` are made once.
In every row the arms do not move: the plug is in the air, the playground's peg
and socket are on the table. The first call, which compiles, is timed
separately; contenders take turns. Memory per world is that of the row's largest
compiled program. It is without the VLA's own memory for `vla`; a `_spread` row
has the figure of the row without `_spread`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from benchmarks import out_file, timing
from experiments import launch
from rlt_jax import tasks

_KINDS = (
  'physics', 'physics_spread', 'warp', 'cameras', 'vla', 'c', 'playground',
  'playground_spread',
)  # fmt: skip
_BY_DEFAULT = [kind for kind in _KINDS if kind != 'warp']
_TASKS = flags.DEFINE_list(
  'tasks', ['ethernet'], f'Tasks to time, of {list(tasks.SHIPPED)}.'
)
_WORLDS = flags.DEFINE_list('worlds', ['8', '64'], 'Numbers of worlds to time.')
_WITH = flags.DEFINE_list('with', _BY_DEFAULT, f'Rows to time, of {_KINDS}.')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Timed calls per row.')
_OUT = out_file.define_out()


class Case(NamedTuple):
  """A row to time."""

  kind: str
  worlds: int
  task: str


def choose_cases(
  kinds: Sequence[str], names: Sequence[str], counts: Sequence[int]
) -> list[Case]:
  """Returns the rows of some kinds, tasks and numbers of worlds.

  Raises:
    ValueError: an unknown kind or task, or a kind that no task can have.
  """
  if set(kinds) - set(_KINDS):
    raise ValueError(f'--with must list {_KINDS}: {list(kinds)}.')
  if set(names) - set(tasks.SHIPPED) or not names:
    raise ValueError(f'--tasks must list {list(tasks.SHIPPED)}: {list(names)}.')
  if 'vla' in kinds and 'ethernet' not in names:
    raise ValueError(
      f'--with=vla is of ethernet, which --tasks must have: {list(names)}.'
    )
  cases = []
  for kind in kinds:
    once = kind == 'vla' or kind.startswith('playground')
    for name in ['ethernet'] if once else names:
      cases += [Case(kind, worlds, name) for worlds in counts]
  return cases


def main() -> None:
  """Times every row of --with at every number of worlds, for each task."""
  out_file.check(_OUT.value)
  with launch.user_errors():
    counts = [int(worlds) for worlds in _WORLDS.value]
    cases = choose_cases(_WITH.value, _TASKS.value, counts)
  import jax

  from benchmarks import sim_contenders

  timing.show_every_core()
  benches = {case.task: sim_contenders.Bench(case.task) for case in cases}
  memory = {}
  with launch.user_errors():
    for kind, worlds, name in cases:
      kind = kind.removesuffix('_spread')
      if (kind, name) not in memory:
        memory[kind, name] = sim_contenders.bytes_per_world(
          benches[name].lowered(kind)
        )
      if per_world := memory[kind, name]:
        sim_contenders.check_memory(worlds, per_world)
  # The estimate compiled programs for `_CHECK` worlds. Forget them, so that the
  # first timed call of that many worlds compiles too.
  jax.clear_caches()
  timed = timing.interleave(
    [benches[case.task].make(case.kind, case.worlds) for case in cases],
    _ROUNDS.value,
  )
  origin = timing.origin()
  print(
    '| row | control steps/s (quartiles) | simulated s/s | first call, s | '
    'KiB per world; worlds that fit |\n|---|---|---|---|---|'
  )
  rows = [
    sim_contenders.report(
      kind, worlds, timed, memory[kind.removesuffix('_spread'), name], name
    )
    for kind, worlds, name in cases
  ]
  timing.finish(rows, origin, _OUT.value)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False, saves_nothing=True)
