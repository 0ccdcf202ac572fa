"""Tasks, one folder each, opened by name.

A shipped task has a name; any other is given as 'module:function'. The function
takes the task's config, or nothing, and returns a `tasks.task.Task`.
"""

from collections.abc import Callable
from typing import Any

from rlt_jax import plugins
from rlt_jax.tasks.task import Task, TaskConfig, TaskSpec

SHIPPED = {
  'ethernet': 'rlt_jax.tasks.ethernet.task:make',
  'charger': 'rlt_jax.tasks.charger.task:make',
  'screw': 'rlt_jax.tasks.screw.task:make',
  'zip_tie': 'rlt_jax.tasks.zip_tie.task:make',
}
_WHAT = 'A task'
_SPECS = {name: f'rlt_jax.tasks.{name}.task:make_spec' for name in SHIPPED}
# Settings of the experts of shipped tasks, readable without a simulator.
_EXPERTS = {
  name: f'rlt_jax.tasks.{name}.expert_config:ExpertConfig' for name in SHIPPED
}


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


def expert_config_class(
  name: str, make_config: Callable[[], Any] = lambda: None
) -> type | None:
  """Returns the class of the settings of a task's scripted expert.

  None for a task without an expert, or an expert without settings.

  Args:
    name: of a shipped task, or 'module:function'.
    make_config: returns the settings of the task, as for `load`. It is called
      for a task that has to be built, which the shipped ones do not.

  Raises:
    ValueError: see `load`.
  """
  if name in _EXPERTS:
    return plugins.load_object(name, shipped=_EXPERTS, what='An expert')
  make = load(name, make_config()).make_expert
  return None if make is None else plugins.config_class(make, 'An expert')


def load_spec(name: str, config: Any = None) -> TaskSpec:
  """Returns the spec of a task.

  A shipped task builds no simulator for it; any other is built.

  Args:
    name, config: as for `load`.

  Raises:
    ValueError: see `load`.
  """
  if name not in SHIPPED:
    return load(name, config).spec
  _check_class(name, config, config_class(name))
  return plugins.load_object(name, shipped=_SPECS, what=_WHAT)(config)


def _check_class(name: str, config: Any, expected: type[TaskConfig]) -> None:
  if config is not None and not isinstance(config, expected):
    raise ValueError(
      f'The settings of task {name!r} must be a {expected.__name__}: '
      f'{type(config).__name__}.'
    )


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
  _check_class(name, config, cls or TaskConfig)
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
