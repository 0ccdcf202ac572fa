"""How the tests compile: they run for seconds and would compile for minutes.

Compiled programs are shared by the workers of one run, and by no other. LLVM's
optimizer and the CPU fusion emitters are left out, unless XLA_FLAGS says how to
compile: `XLA_FLAGS= make test` takes longer and tests the programs as users run
them.
"""

import gc
import importlib.metadata
import os
import shutil
import signal
import tempfile

import pytest

_FOLDER = 'JAX_COMPILATION_CACHE_DIR'


def _fast_to_compile() -> str:
  """The flags of XLA; one that it does not know would end the process."""
  flags = '--xla_backend_optimization_level=0'
  version = importlib.metadata.version('jaxlib').split('.')[:3]
  if tuple(map(int, version)) <= (0, 11, 0):  # see sim/compilation.py
    # They triple the time to compile an agent's update.
    flags += ' --xla_cpu_use_fusion_emitters=false'
  return flags


def pytest_configure(config):
  # Ignored under nohup, and in the background of a shell that runs a script.
  # Children inherit that, and a test that sends one would wait for ever.
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  # JAX keeps what it traces, and each collection reads all of it again.
  gc.set_threshold(50_000, 20, 20)
  # Before JAX is imported. Workers of pytest-xdist inherit the environment.
  os.environ.setdefault('XLA_FLAGS', _fast_to_compile())
  if hasattr(config, 'workerinput') or _FOLDER in os.environ:
    return
  config.compiled = os.environ[_FOLDER] = tempfile.mkdtemp(prefix='rlt_jax-')
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'


def pytest_xdist_make_scheduler(config, log):
  from xdist.scheduler import LoadFileScheduling

  class Scheduling(LoadFileScheduling):
    """Gives a file to one worker, and so all files that share what is traced.

    These are the files of one task, and those of the environments.
    """

    def _split_scope(self, nodeid):
      file = nodeid.split('::')[0]
      shared = file.startswith(('tests/tasks/', 'tests/envs/'))
      return file.rpartition('/')[0] if shared else file

  return Scheduling(config, log)


def pytest_unconfigure(config):
  if hasattr(config, 'compiled'):
    del os.environ[_FOLDER]
    shutil.rmtree(config.compiled, ignore_errors=True)


@pytest.fixture(scope='session', autouse=True)
def built_once():
  """A shipped task of one setting, and its rollout, serve a whole worker.

  Both are pure functions, and each new one would be traced again, which takes
  longer than most tests.
  """
  from rlt_jax import tasks
  from rlt_jax.rollout import chunk_rollout

  load, make, built, rollouts = tasks.load, chunk_rollout.make, {}, {}

  def load_once(name, config=None):
    if name not in tasks.SHIPPED:
      return load(name, config)
    key = name, repr(config)
    if key not in built:
      built[key] = load(name, config)
    return built[key]

  def make_once(task):
    # What a rollout reads of a task: one with other cameras has the same.
    parts = task.reset, task.step, task.joint_positions, task.compile
    key = tuple(map(id, parts))
    if key not in rollouts:
      rollouts[key] = parts, make(task)  # the parts keep their ids in use
    return rollouts[key][1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tasks, 'load', load_once)
    patch.setattr(chunk_rollout, 'make', make_once)
    yield
