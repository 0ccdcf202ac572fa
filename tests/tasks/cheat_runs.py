"""Runs cheats of a task, one in each world."""

from collections.abc import Sequence

import numpy as np

from rlt_jax.tasks.insertion.cheats import Cheat, Driver


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
