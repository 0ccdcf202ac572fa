"""What the weights of a VLA were trained on: tasks and their instructions."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

from rlt_jax.demo_files import TaskFacts


class Measured(NamedTuple):
  """Statistics of one kind of proprioception, all [P].

  names: of the entries. mean, std: over the demonstrations.
  """

  names: tuple[str, ...]
  mean: tuple[float, ...]
  std: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownTask:
  """A task that a VLA was trained on.

  name, instruction, phrasings, other_instructions: of its `TaskSpec`.
  action_scale: [A] rad or m per normalized unit of its demonstrations; empty
    where it is that of the VLA.
  proprio: what may be measured in this task: by actor and critic, and by a VLA
    whose state is no other. Empty where it is not recorded.
  """

  name: str
  instruction: str
  phrasings: tuple[str, ...] = ()
  other_instructions: tuple[str, ...] = ()
  action_scale: tuple[float, ...] = ()
  proprio: tuple[Measured, ...] = ()

  def instructions(self) -> tuple[str, ...]:
    """Returns all its texts, the task's own first."""
    return (self.instruction, *self.phrasings, *self.other_instructions)


def joint_entries(joint_names: Sequence[str]) -> tuple[str, ...]:
  """Returns the names of positions and then rates of joints, as tasks do."""
  return tuple(f'{x}.{part}' for part in ('pos', 'vel') for x in joint_names)


def of_facts(tasks: Iterable[TaskFacts], **more: Any) -> tuple[KnownTask, ...]:
  """Returns the tasks of demonstrations; `more` has further fields."""
  names = ('name', 'instruction', 'phrasings', 'other_instructions')
  return tuple(
    KnownTask(**{name: getattr(task, name) for name in names}, **more)
    for task in tasks
  )


def read(rows: Sequence[Mapping[str, Any]]) -> tuple[KnownTask, ...]:
  """Returns tasks as `dataclasses.asdict` wrote them, from JSON.

  Raises:
    ValueError: rows of another form.
  """
  try:
    found = []
    for row in rows:
      fields = {
        k: tuple(v) if isinstance(v, list) else v for k, v in row.items()
      }
      fields['proprio'] = tuple(
        Measured(*map(tuple, x)) for x in fields.get('proprio', ())
      )
      found.append(KnownTask(**fields))
    return tuple(found)
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f'The tasks of a VLA must be as train_vla records them: {error}.'
    ) from None


def find(tasks: Sequence[KnownTask], spec: Any) -> KnownTask:
  """Returns the known task that has the instruction of a `TaskSpec`.

  A task is known by its instruction, which is all that the VLA hears of it: a
  tighter clearance of the same task is no other one.

  Raises:
    ValueError: none has it.
  """
  for task in tasks:
    if spec.instruction in (task.instruction, *task.phrasings):
      return task
  raise ValueError(
    f"The VLA must have been trained on the task's instruction, "
    f'{spec.instruction!r} of {spec.name}: it knows {spell(tasks)}. Give '
    'weights that know it with --vla= or --assets=, or train them with '
    'experiments.train_vla.'
  )


def measured(task: KnownTask, spec: Any) -> Measured:
  """Returns the statistics of what a `TaskSpec` measures.

  Raises:
    ValueError: they were not measured.
  """
  for found in task.proprio:
    if found.names == tuple(spec.proprio_names):
      return found
  kinds = [f'{list(found.names[:3])} ...' for found in task.proprio]
  raise ValueError(
    f'The VLA must know statistics of the proprioception of {spec.name}, '
    f'{list(spec.proprio_names[:3])} ...: it knows those of '
    f'{", ".join(kinds) or "none"}. See --set=task.proprio=.'
  )


def spell(tasks: Sequence[KnownTask]) -> str:
  """Returns the tasks in words: their names and own instructions."""
  return ', '.join(f'{task.name} ({task.instruction!r})' for task in tasks)
