"""Tasks, one folder each, opened by name.

A shipped task has a name; any other is given as 'module:function'. The function
takes the task's config, or nothing, and returns a `tasks.task.Task`.
"""

from typing import Any

from rlt_jax import plugins
from rlt_jax.tasks.task import Task, TaskConfig

SHIPPED = {'ethernet': 'rlt_jax.tasks.ethernet.task:make'}
_WHAT = 'A task'


def config_class(name: str) -> type[TaskConfig]:
  """Returns the class of a task's settings.

  Raises:
    ValueError: no such task, or its settings are not a `TaskConfig`.
  """
  function = plugins.load_object(name, shipped=SHIPPED, what=_WHAT)
  found = plugins.config_class(function, _WHAT)
  plugins.check_parameters(function, ('config',) if found else (), name, _WHAT)
  if found and not issubclass(found, TaskConfig):
    raise ValueError(
      f'{_WHAT} must have settings that extend TaskConfig: {name!r} has '
      f'{found.__name__}.'
    )
  return found or TaskConfig


def load(name: str, config: Any = None) -> Task:
  """Builds a task.

  Args:
    name: of a shipped task, or 'module:function'.
    config: its settings; None is their defaults.

  Raises:
    ValueError: no such task, settings of another class, or a spec whose
      control rate or time limit is not that of the settings.
  """
  function = plugins.load_object(name, shipped=SHIPPED, what=_WHAT)
  cls = config_class(name) if plugins.config_class(function, _WHAT) else None
  if config is not None and not isinstance(config, cls or TaskConfig):
    raise ValueError(
      f'The settings of task {name!r} must be a '
      f'{(cls or TaskConfig).__name__}: {type(config).__name__}.'
    )
  if cls is None:
    task = function()
  else:
    task = function(config=cls() if config is None else config)
  plugins.check_type(task, Task, name, _WHAT)
  rate = (cls or TaskConfig).control_hz
  if task.spec.control_hz != rate:
    raise ValueError(
      f"A task's spec.control_hz must be the control_hz of its config's class, "
      f'{rate:g}: {task.spec.control_hz:g}.'
    )
  settings = config or (cls or TaskConfig)()
  if task.spec.time_limit != settings.time_limit:
    raise ValueError(
      f"A task's spec.time_limit must be the time_limit of its config, "
      f'{settings.time_limit}: {task.spec.time_limit}.'
    )
  return task
