"""Runs cheats of a task, one in each world."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rlt_jax.tasks.insertion.cheats import Cheat, Driver
from rlt_jax.tasks.task import Outcome, Task

_MOST_STARTS = 5  # of a cheat in C MuJoCo


def outcomes(
  driver: Driver, cheats: Sequence[Cheat], honest: Sequence[Cheat], starts
) -> dict[str, list[int]]:
  """Returns cheat name -> its final outcomes.

  Args:
    driver: of the task.
    cheats: each in one world.
    honest: the worlds that are left, in turns.
    starts: states [E], or a list of them to run one after the other.
  """
  found = {cheat.name: [] for cheat in (*cheats, *honest)}
  for states in starts if isinstance(starts, list) else [starts]:
    count = len(states.outcome)
    worlds = (list(cheats) + list(honest) * count)[:count]
    final = np.asarray(driver.run(worlds, states).outcome)
    for cheat, outcome in zip(worlds, final, strict=True):
      found[cheat.name].append(int(outcome))
  return found


def outcomes_in_c(
  make_driver: Callable[..., Driver],
  task: Task,
  scene: Any,
  cheats: Sequence[Cheat],
  honest: Cheat,
  starts: Any,
) -> dict[str, list[int]]:
  """Returns cheat name -> its final outcomes in C MuJoCo.

  Args:
    make_driver: the class of the task's driver.
    task, scene: of the cheats.
    cheats: that may be long.
    honest: in the worlds that are left.
    starts: State [E].
  """
  worlds = [
    cheat
    for start in range(_MOST_STARTS)
    for cheat in cheats
    if start < _starts_of(cheat)
  ]
  worlds += [honest] * (len(starts.outcome) - len(worlds))
  final = make_driver(task, scene, _make_c_step(task, worlds)).run(
    worlds, starts
  )
  found = {cheat.name: [] for cheat in cheats}
  for cheat, outcome in zip(worlds, final.outcome, strict=True):
    if cheat is not honest:
      found[cheat.name].append(int(outcome))
  return found


def check_wins(cheat: Cheat, outcomes: list[int]) -> None:
  """Asserts that a cheat has no more success than it may have."""
  count = _starts_of(cheat)
  assert len(outcomes) == count
  # One lucky start is no fault.
  most = max(1, int(cheat.most * count)) if cheat.most else 0
  assert outcomes.count(Outcome.SUCCESS) <= most < count


def _starts_of(cheat: Cheat) -> int:
  return _MOST_STARTS if cheat.most >= 0.5 else 3


def _make_c_step(task: Task, cheats: Sequence[Cheat]) -> Callable:
  """Returns (State [E], command [E, A]) -> State [E] in C MuJoCo, for one run.

  Long cheats are cheap there: a world that has ended, or whose cheat has given
  up, is stepped no more.

  Args:
    task: of the cheats.
    cheats: [E], one for each world.
  """
  benches, steps = [], 0

  def step(states, commands):
    nonlocal steps
    rows = [jax.tree.map(lambda x: np.asarray(x)[i], states)  # noqa: B023
            for i in range(len(cheats))]  # fmt: skip
    if not benches:
      benches.extend(task.make_bench() for _ in cheats)
      for bench, row in zip(benches, rows, strict=True):
        bench.place(row)
    for i, (bench, cheat) in enumerate(zip(benches, cheats, strict=True)):
      if bench.outcome() == Outcome.RUNNING and steps < cheat.steps:
        bench.set_targets(np.float64(commands[i]))
        for _ in range(task.config.substeps):
          bench.step()
        rows[i] = jax.tree.map(lambda x: np.asarray(x)[0], bench.world())
    steps += 1
    return jax.tree.map(lambda *x: np.stack(x), *rows)

  return step
