"""Common flags, error messages and start-up of all experiments.

An experiment defines its flags, has a `main()` without arguments, and ends in

  if __name__ == '__main__':
    launch.run(main)

JAX is imported only by the functions that need it: a robot host may lack it.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import os
import pathlib
import re
import runpy
import shlex
import shutil
import sys
from typing import NamedTuple, TYPE_CHECKING

from absl import app, flags, logging

from rlt_jax import console, files, signals

from . import launch_help

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

  def make_config(
    self, resumed: pathlib.Path | None = None
  ) -> 'PracticeConfig':
    """Returns settings with what the flags change.

    Args:
      resumed: folder of the run whose settings they are; None for the defaults.

    Raises:
      ValueError: a setting that does not exist or does not fit, or that a run
        must keep.
      OSError: no run in the folder.
    """
    names = {x: getattr(self, x).value for x in ('task', 'vla', 'agent')}
    if resumed is None:
      return make_config(self.set.value, **names)
    from rlt_jax.training import resumption

    return resumption.resumed_config(resumed, self.set.value, **names)

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


def check_own_settings(
  workdir: flags.FlagHolder[str],
  settings: SettingFlags,
  *others: flags.FlagHolder[object],
) -> None:
  """Raises ValueError for flags of what a run has settings of its own for.

  Args:
    workdir: of the run; empty for none.
    settings: of a run.
    *others: flags that only what is no run takes.
  """
  given = [*settings.given(), *(x.name for x in others if x.present)]
  if workdir.value and given:
    raise ValueError(f'A run has its own settings; remove the flags {given}.')


class PathParser(flags.ArgumentParser[str]):
  """Expands ~, which a shell leaves alone behind `--flag=`."""

  def parse(self, argument: str) -> str:
    """Returns the argument with the home folder in place of ~."""
    # The folder may follow the name of a VLA, or be a parameter of an address.
    behind = re.sub(
      r'(?<=[:=])~(?=/|$)', lambda _: os.path.expanduser('~'), argument
    )
    return os.path.expanduser(behind)


def define_path(
  name: str, default: str | None, text: str, *, required: bool = False
) -> flags.FlagHolder[str]:
  """Defines a flag with a file or folder, in which ~ is the user's home."""
  return flags.DEFINE(
    PathParser(),
    name,
    default,
    text,
    serializer=flags.ArgumentSerializer(),
    required=required,
  )


def define_paths(
  name: str, default: list[str], text: str
) -> flags.FlagHolder[list[str]]:
  """Defines a flag as `define_path`, which may be repeated."""
  serializer = flags.ArgumentSerializer()
  return flags.DEFINE_multi(PathParser(), serializer, name, default, text)


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
      'Changes a setting, such as --set=agent.beta=0.01; may be repeated. The '
      'settings are listed below.',
    ),
    task=flags.DEFINE_string(
      'task',
      '',
      "Task: a shipped one by name, such as 'ethernet' (docs/tasks.md), or "
      "your own as 'module:function'; empty takes 'ethernet'.",
    ),
    vla=define_path(
      'vla',
      '',
      "Frozen VLA: 'pi_small' or 'pi_small:FOLDER', 'ws://HOST:PORT' of a "
      "server, 'openpi:CONFIGURATION:CHECKPOINT', or your own as "
      "'module:function'; empty takes 'pi_small'.",
    ),
    agent=flags.DEFINE_string(
      'agent',
      '',
      "Agent: a shipped one by name ('rlt', 'imitation', 'best_of_n', 'dsrl', "
      "'residual', 'hil_serl'), or your own as "
      "'module:function'; empty takes 'rlt'.",
    ),
  )


def define_task() -> TaskFlags:
  """Defines --task, and --set for the settings of the task alone."""
  return TaskFlags(
    task=flags.DEFINE_string(
      'task',
      'ethernet',
      "Task: a shipped one by name, such as 'ethernet' (docs/tasks.md), or "
      "your own as 'module:function'.",
    ),
    set=flags.DEFINE_multi_string(
      'set',
      [],
      'Changes a setting of the task, such as --set=task.time_limit=300; may '
      'be repeated. The settings are listed below.',
    ),
  )


def define_assets() -> flags.FlagHolder[str]:
  """Defines --assets."""
  return define_path(
    'assets',
    '',
    'Folder with token/ and, for the VLA pi_small, vla/; empty takes the '
    'shipped ones.',
  )


def define_workdir(
  text: str = 'New folder for the run.', required: bool = True
) -> flags.FlagHolder[str]:
  """Defines --workdir; '' where it is not required and not given."""
  default = None if required else ''
  return define_path('workdir', default, text, required=required)


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
    'resume',
    False,
    'Go on where the last command in this folder stopped, with its settings.',
  )


def run_command() -> None:
  """Runs the launch file of an installed command, as `python -m` would.

  `rlt-export-policy` is `export_policy` of this package.
  """
  name = pathlib.Path(sys.argv[0]).name.removeprefix('rlt-')
  module = f'{__package__}.{name.replace("-", "_")}'
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def command() -> list[str]:
  """Returns the command that started this process, for the record."""
  spec = getattr(sys.modules['__main__'], '__spec__', None)
  script = ['-m', spec.name] if spec else [sys.argv[0]]
  return ['python', *script, *sys.argv[1:]]


def command_line() -> str:
  """Returns `command` as one line for a shell."""
  return shlex.join(command())


def _this_command() -> str:
  """Returns `command_line` with the interpreter that runs it, by its path."""
  python = sys.executable
  if shutil.which('python') == python:
    python = 'python'
  elif pathlib.Path(python).is_relative_to(os.getcwd()):
    python = os.path.relpath(python)
  return shlex.join([python, *command()[1:]])


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


def _how_to_go_on(saved: bool) -> str:
  if not saved:
    return f'Start again with: {_this_command()}'
  resume = '' if flags.FLAGS.resume else ' --resume'
  return f'Continue with: {_this_command()}{resume}'


@contextlib.contextmanager
def resumable(
  is_saved: Callable[[], bool],
  describe_saved: Callable[[], str] = lambda: '',
) -> Iterator[None]:
  """On Ctrl-C, SIGTERM or SIGHUP says how to continue, and ends the process.

  So does a full or failing disk, in a sentence. The experiment must have the
  flag --resume. What runs within saves before it lets KeyboardInterrupt
  through, see `rlt_jax/signals.py`.

  Args:
    is_saved: () -> whether there is something to resume from.
    describe_saved: () -> a sentence if that is not what was done last.
  """
  try:
    yield
  except KeyboardInterrupt as stopped:
    said = 'Saved.' if (saved := is_saved()) else 'Nothing to save yet.'
    said = describe_saved() or said
    print(f'\n{said} {_how_to_go_on(saved)}', file=sys.stderr, flush=True)
    signals.leave(stopped)
  except OSError as error:
    if error.errno not in files.DISK_ERRORS:
      raise
    raise SystemExit(f'\nerror: {error}\n{_how_to_go_on(is_saved())}') from None


def _call(function: Callable[..., None], *arguments: list[str]) -> None:
  function(*arguments)


def run(
  main: Callable[..., None],
  *,
  arguments: bool = False,
  keep_compiled: bool = True,
  saves_nothing: bool = False,
) -> None:
  """Parses the command line and runs `main`; does not return.

  Args:
    main: () -> None, or with `arguments` (list of str) -> None.
    arguments: whether arguments other than flags are allowed.
    keep_compiled: keep JAX's compiled programs between runs. False imports no
      JAX.
    saves_nothing: `main` has nothing to save before its end, and is given up
      at once when a signal comes, even in a compilation.
  """

  module = sys.modules[main.__module__]

  def start(argv: list[str]) -> None:
    if len(argv) > 1 and not arguments:
      raise SystemExit(f'error: Unknown arguments: {argv[1:]}.')
    # orbax logs every save at INFO.
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    if keep_compiled:
      from rlt_jax.training import compilation_cache, precision

      with user_errors():
        precision.check()
      compilation_cache.keep_compiled()
    try:
      with signals.as_interrupt():
        call = signals.call if saves_nothing else _call
        call(main, *([argv[1:]] if arguments else []))
    except KeyboardInterrupt as stopped:
      name = str(stopped) or 'Ctrl-C'
      print(f'\nStopped by {name}.', file=sys.stderr, flush=True)
      signals.leave(stopped)

  console.outlive()
  app.run(start, flags_parser=lambda argv: launch_help.parse(argv, module))
