"""Reads the command line of an experiment; answers --help and mistakes.

It imports no JAX, unless a task or an agent of one's own does.
"""

import contextlib
import difflib
import re
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING

from absl import app, flags

if TYPE_CHECKING:
  from collections.abc import Callable

  from rlt_jax import config_help

  from . import launch

_HELP = ('--help', '-help', '-h', '-?')
# What absl says of a missing flag, and Python of a number.
_MISSING = 'must have a value other than None'
_NUMBERS = {
  'invalid literal for int': 'an integer',
  'could not convert string to float': 'a number',
}


def parse(argv: list[str], module: ModuleType) -> list[str]:
  """Reads the flags and returns the arguments that are none.

  Args:
    argv: of the process.
    module: of the experiment; gives its text and its own flags.

  Raises:
    SystemExit: 0 after --help, else with what is wrong with a flag.
  """
  app.define_help_flags()  # --helpfull lists the flags of libraries too
  asked = any(x in _HELP for x in argv[1:])
  argv = [x for x in argv if x not in _HELP]
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    # So that --task and --agent can be read, which decide the settings.
    with contextlib.suppress(flags.Error):
      flags.FLAGS(argv, known_only=True)
    flags.FLAGS.mark_as_parsed()
    if not asked:
      raise SystemExit(f'error: {_explain(error, module)}') from None
  if asked:
    print(_help_text(module))
    raise SystemExit(0)
  return rest


def _explain(error: flags.Error, module: ModuleType) -> str:
  """Returns what is wrong with a flag, with the flag or setting meant."""
  if not isinstance(error, flags.UnrecognizedFlagError):
    found = re.match('flag --(.*?)=(.*?): (.*)', str(error), re.DOTALL)
    if not found:
      return str(error)
    flag, value, reason = found.groups()
    if _MISSING in reason:
      return f'--{flag} must be given.'
    for start, rule in _NUMBERS.items():
      if reason.startswith(start):
        return f'--{flag} must be {rule}: {value!r}.'
    return f'--{flag}={value}: {reason}'
  name = error.flagname
  found = {x.name: f'--{x.name}' for x in _flags_of(module)}
  for flag, settings in _settings(module).items():
    found |= {x.path: f'--{flag}={x.path}=VALUE' for x in settings}
  # agent.beta is also found by its last name.
  found |= {k.rpartition('.')[2]: v for k, v in found.items() if '.' in k}
  near = difflib.get_close_matches(name, found, n=1)
  hint = f' Did you mean {found[near[0]]}?' if near else ''
  return f'There is no flag --{name}.{hint} --help lists the flags.'


def _flags_of(module: ModuleType) -> list[flags.Flag]:
  return flags.FLAGS.get_key_flags_for_module(module)


def _help_text(module: ModuleType) -> str:
  """Returns what an experiment does, its flags and its settings."""
  about = (module.__doc__ or '').strip()
  # An installed command's launch file is in another package.
  about = about.replace('python -m experiments.', f'python -m {__package__}.')
  lines = [about, '', 'Flags:']
  for flag in _flags_of(module):
    text = f'  --[no]{flag.name}' if flag.boolean else f'  --{flag.name}'
    if any(_MISSING in x.message for x in flag.validators):
      text += ' (must be given)'
    elif flag.default not in (None, '', []):
      text += f' (default: {flag.default_as_str.strip(chr(39))})'
    about = flag.help.partition(';\n')[0]  # absl says how to repeat a flag
    lines += [text, *(' ' * 6 + x for x in textwrap.wrap(about, 80 - 6))]
  for flag, settings in _settings(module).items():
    from rlt_jax import config_help

    if settings:
      lines += ['', 'Settings with their defaults, changed by']
      lines[-1] += f' --{flag}=NAME=VALUE:'
      lines += [config_help.describe(settings)]
  return '\n'.join(lines)


def _settings(module: ModuleType) -> 'dict[str, list[config_help.Setting]]':
  """Returns what flags can change: flag -> settings.

  Those of --set follow from --task and --agent. Others are listed by the
  experiment's function `list_settings`, which returns them in this form.
  """
  found = {}
  try:
    if 'set' in flags.FLAGS and 'task' in flags.FLAGS:
      found['set'] = _run_settings(whole='agent' in flags.FLAGS)
    if hasattr(module, 'list_settings'):
      found |= module.list_settings()
  except ValueError as error:  # no such task or agent
    raise SystemExit(f'error: {error}') from None
  return found


def of_expert(
  task: 'launch.TaskFlags',
) -> 'Callable[[], dict[str, list[config_help.Setting]]]':
  """Returns the `list_settings` of a task's expert, which --expert changes."""

  def list_settings():
    from rlt_jax import config_help, tasks

    cls = tasks.expert_config_class(task.task.value, task.make_config)
    return {'expert': list(config_help.settings(cls())) if cls else []}

  return list_settings


def of_rows() -> 'dict[str, list[config_help.Setting]]':
  """Is the `list_settings` of runs that have no --agent; --set changes all."""
  found = _run_settings(whole=True)
  # These have flags of their own, --seeds and --minutes.
  return {'set': [x for x in found if x.path not in ('seed', 'num_env_steps')]}


def _run_settings(whole: bool) -> 'list[config_help.Setting]':
  """Returns what --set can change for the task and agent of the flags.

  Args:
    whole: all settings of a run; False lists those of the task alone.
  """
  given = flags.FLAGS
  from rlt_jax import config_help
  from rlt_jax.training import config as config_lib

  # The default is not named: its settings are known without a simulator.
  task = '' if given.task == config_lib.PracticeConfig.task_name else given.task
  agent = given.agent if 'agent' in given else ''
  config = config_lib.make_config([], task=task, agent=agent)
  if whole:
    found = config_help.settings(config)
  else:
    found = config_help.settings(config.task, 'task.')
  # These have flags of their own.
  names = ('vla', 'task_name', 'agent_name')
  return [x for x in found if x.path not in names]
