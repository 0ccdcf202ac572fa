"""Common flags, error messages and start-up of all experiments.

An experiment defines its flags, has a `main()` without arguments, and ends in

  if __name__ == '__main__':
    launch.run(main)

JAX is imported only by the functions that need it: a robot host may lack it.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import shlex
import sys
from typing import NamedTuple, TYPE_CHECKING

from absl import app, flags, logging

if TYPE_CHECKING:
  from rlt_jax.tasks.task import TaskConfig
  from rlt_jax.training.config import PracticeConfig

# The flags defined below count as the experiment's own, so that its --help
# shows them.
flags.disclaim_key_flags()

_TASK = 'task.'  # before the name of a task's setting


class SettingFlags(NamedTuple):
  """Flags that make a PracticeConfig; see `define_settings`."""

  set: flags.FlagHolder[list[str]]
  task: flags.FlagHolder[str]
  vla: flags.FlagHolder[str]
  agent: flags.FlagHolder[str]

  def make_config(self) -> 'PracticeConfig':
    """Returns the default settings with what the flags change.

    Raises:
      ValueError: a setting that does not exist or does not fit.
    """
    return make_config(
      self.set.value,
      task=self.task.value,
      vla=self.vla.value,
      agent=self.agent.value,
    )

  def given(self) -> list[str]:
    """Returns the names of the flags that were given."""
    return [name for name in self._fields if getattr(self, name).value]


class TaskFlags(NamedTuple):
  """Flags that name a task and its settings; see `define_task`."""

  task: flags.FlagHolder[str]
  set: flags.FlagHolder[list[str]]

  def make_config(self) -> 'TaskConfig':
    """Returns the task's default settings with what --set changes.

    Raises:
      ValueError: no such task, or a setting that is not one of the task.
    """
    from rlt_jax import config as config_lib
    from rlt_jax import tasks

    for text in self.set.value:
      if not text.strip().startswith(_TASK):
        raise ValueError(
          f'A setting must be one of the task here, {_TASK}x=...: {text!r}.'
        )
    changes = [text.strip().removeprefix(_TASK) for text in self.set.value]
    config = tasks.config_class(self.task.value)()
    return config_lib.override(config, changes)

  def given(self) -> list[str]:
    """Returns the names of the flags that were given."""
    return [name for name in self._fields if getattr(self, name).present]

  def arguments(self) -> list[str]:
    """Returns the flags as another command takes them."""
    settings = [f'--set={text}' for text in self.set.value]
    return [f'--task={self.task.value}', *settings]


def make_config(
  assignments: Sequence[str], *, task: str = '', vla: str = '', agent: str = ''
) -> 'PracticeConfig':
  """Returns the default settings of practice with changes.

  Args:
    assignments: 'field=value', as `config.override` reads them.
    task, vla, agent: values of the fields of these names; '' keeps the default.

  Raises:
    ValueError: a setting that does not exist or does not fit.
  """
  from rlt_jax.training import config as config_lib

  return config_lib.make_config(assignments, task=task, vla=vla, agent=agent)


def define_settings() -> SettingFlags:
  """Defines --set, --task, --vla and --agent."""
  return SettingFlags(
    set=flags.DEFINE_multi_string(
      'set',
      [],
      'Changes a field of PracticeConfig, such as --set=agent.beta=0.01; '
      'may be repeated.',
    ),
    task=flags.DEFINE_string(
      'task', '', "Task: a shipped one by name, or 'module:function'."
    ),
    vla=flags.DEFINE_string(
      'vla', '', "Frozen VLA: a shipped one by name, or 'module:function'."
    ),
    agent=flags.DEFINE_string(
      'agent', '', "Agent: a shipped one by name, or 'module:function'."
    ),
  )


def define_task() -> TaskFlags:
  """Defines --task, and --set for the settings of the task alone."""
  return TaskFlags(
    task=flags.DEFINE_string(
      'task',
      'ethernet',
      "Task: a shipped one by name, or 'module:function'.",
    ),
    set=flags.DEFINE_multi_string(
      'set', [], 'A setting of the task, e.g. --set=task.time_limit=300.'
    ),
  )


def define_assets() -> flags.FlagHolder[str]:
  """Defines --assets."""
  return flags.DEFINE_string(
    'assets', '', 'Folder with vla/ and token/; empty takes the shipped ones.'
  )


def define_workdir(
  text: str = 'New folder for the run.', required: bool = True
) -> flags.FlagHolder[str]:
  """Defines --workdir; '' where it is not required and not given."""
  default = None if required else ''
  return flags.DEFINE_string('workdir', default, text, required=required)


def require_integers(name: str, minimum: int) -> None:
  """Refuses a list flag whose entries `int` cannot read or are too small."""

  def check(entries: list[str]) -> bool:
    try:
      return bool(entries) and all(int(entry) >= minimum for entry in entries)
    except ValueError:
      return False

  flags.register_validator(
    name,
    check,
    f'must be integers of at least {minimum}, separated by commas.',
  )


def define_resume() -> flags.FlagHolder[bool]:
  """Defines --resume."""
  return flags.DEFINE_bool(
    'resume', False, 'Continue from the last checkpoint in the workdir.'
  )


def command() -> list[str]:
  """Returns the command that started this process, for the record."""
  spec = getattr(sys.modules['__main__'], '__spec__', None)
  script = ['-m', spec.name] if spec else [sys.argv[0]]
  return ['python', *script, *sys.argv[1:]]


def command_line() -> str:
  """Returns `command` as one line for a shell."""
  return shlex.join(command())


@contextlib.contextmanager
def user_errors(*others: type[Exception]) -> Iterator[None]:
  """Ends the process with 'error: ...' and no traceback if a setting is wrong.

  Use it around reading of settings and building. Later errors are bugs or
  faults of the machine and keep their traceback.

  Args:
    *others: exceptions to treat like ValueError, OSError and ImportError.
  """
  try:
    yield
  except (ValueError, OSError, ImportError, *others) as error:
    if isinstance(error, FileNotFoundError) and error.filename:
      error = f'There must be a file or folder {error.filename}.'
    raise SystemExit(f'error: {error}') from None


@contextlib.contextmanager
def save_on_interrupt(save: Callable[[], None]) -> Iterator[None]:
  """On Ctrl-C saves, prints the command to continue, and ends the process.

  The experiment must have the flag --resume.
  """
  try:
    yield
  except KeyboardInterrupt:
    save()
    resume = '' if flags.FLAGS.resume else ' --resume'
    raise SystemExit(
      f'\nSaved. Continue with: {command_line()}{resume}'
    ) from None


def run(
  main: Callable[..., None],
  *,
  arguments: bool = False,
  keep_compiled: bool = True,
) -> None:
  """Parses the command line and runs `main`; does not return.

  Args:
    main: () -> None, or with `arguments` (list of str) -> None.
    arguments: whether arguments other than flags are allowed.
    keep_compiled: keep JAX's compiled programs between runs. False imports no
      JAX.
  """

  def start(argv: list[str]) -> None:
    if len(argv) > 1 and not arguments:
      raise SystemExit(f'error: Unknown arguments: {argv[1:]}.')
    # orbax logs every save at INFO.
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    if keep_compiled:
      from rlt_jax.training import compilation_cache

      compilation_cache.keep_compiled()
    main(*([argv[1:]] if arguments else []))

  app.run(start)
