"""How the tests compile: they run for seconds and would compile for minutes.

Compiled programs are shared by the workers of one run, and by no other. LLVM's
optimizer is left out, unless XLA_FLAGS says how to compile: `XLA_FLAGS= make
test` takes four minutes more and tests the programs as users run them.
"""

import os
import shutil
import signal
import tempfile

_FOLDER = 'JAX_COMPILATION_CACHE_DIR'


def pytest_configure(config):
  # Ignored under nohup, and in the background of a shell that runs a script.
  # Children inherit that, and a test that sends one would wait for ever.
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  # Before JAX is imported. Workers of pytest-xdist inherit the environment.
  os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')
  if hasattr(config, 'workerinput') or _FOLDER in os.environ:
    return
  config.compiled = os.environ[_FOLDER] = tempfile.mkdtemp(prefix='rlt_jax-')
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'


def pytest_unconfigure(config):
  if hasattr(config, 'compiled'):
    del os.environ[_FOLDER]
    shutil.rmtree(config.compiled, ignore_errors=True)
