"""Where a figure comes from: device, commit, versions."""

import os
import pathlib
import platform
import subprocess

import jax

from rlt_jax.export import checkpoint


def device() -> str:
  """Returns the device that jax runs on, in words."""
  first = jax.devices()[0]
  cpu = platform.processor() or platform.machine()
  info = pathlib.Path('/proc/cpuinfo')
  if info.exists():
    for line in info.read_text().splitlines():
      if line.startswith('model name'):
        cpu = line.split(':', 1)[1].strip()
        break
  if first.platform == 'cpu':
    return f'CPU, {os.cpu_count()} cores, {cpu}'
  return f'{first.device_kind} ({cpu})'


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
  """Returns the versions of Python and of what a run depends on."""
  meta = checkpoint.make_meta({}, {})
  return meta['versions'] | {'python': platform.python_version()}
