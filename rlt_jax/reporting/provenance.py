"""Origin of a figure: device, commit, versions."""

from importlib import metadata
import os
import pathlib
import platform
import subprocess
import sys

# The packages that a run's numbers depend on.
_PACKAGES = (
  'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'mujoco',
  'mujoco-mjx',
)  # fmt: skip


def device() -> str:
  """Returns the name of the computing device.

  It is JAX's default device if this process uses JAX, else the CPU.
  """
  # JAX is not imported here: a robot's computer may lack it.
  jax = sys.modules.get('jax')
  first = jax.devices()[0] if jax else None
  if first is None or first.platform == 'cpu':
    return f'CPU, {os.cpu_count()} cores, {_cpu()}'
  return f'{first.device_kind} ({_cpu()})'


def commit() -> str:
  """Returns the commit of the code, or '' outside a checkout."""
  here = pathlib.Path(__file__).resolve().parent
  try:
    out = subprocess.run(
      ['git', 'describe', '--always', '--dirty'],
      cwd=here, capture_output=True, text=True, check=True,
    )  # fmt: skip
  except (OSError, subprocess.CalledProcessError):
    return ''
  return out.stdout.strip()


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the installed packages it runs on."""
  found = {}
  for name in _PACKAGES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return found | {'python': platform.python_version()}


def _cpu() -> str:
  """Returns the name of the processor."""
  info = pathlib.Path('/proc/cpuinfo')
  if info.exists():
    for line in info.read_text('utf-8').splitlines():
      if line.startswith('model name'):
        return line.split(':', 1)[1].strip()
  return platform.processor() or platform.machine()
