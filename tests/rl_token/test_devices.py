"""Stage 1 on several (simulated) devices gives the result of one."""

import os
import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parents[2]


def test_four_devices_train_the_token_that_one_does():
  flags = os.environ['XLA_FLAGS']
  done = subprocess.run(
    [sys.executable, '-m', 'tests.rl_token.stage1_worker'],
    cwd=_ROOT,
    env=os.environ
    | {
      'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count=4',
      'JAX_PLATFORMS': 'cpu',
    },
    capture_output=True,
    text=True,
    timeout=400,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
