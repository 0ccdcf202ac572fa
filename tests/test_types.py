"""What importing the shared types loads."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize('module', ['rlt_jax.types', 'rlt_jax.config'])
def test_import_loads_neither_jax_nor_a_simulator(module):
  code = (
    f'import sys, {module}\n'
    "heavy = {'jax', 'jaxlib', 'chex', 'flax', 'mujoco'} & set(sys.modules)\n"
    'assert not heavy, heavy'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
