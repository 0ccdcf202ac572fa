"""The benchmark of cheats fails where one succeeds."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_FAKE = """
import runpy
import sys
from types import SimpleNamespace
import numpy as np
from rlt_jax.tasks.ethernet import cheats as own, scene, task
from rlt_jax.tasks.insertion import cheats

wins = int(sys.argv.pop(1))

class Driver:
  def __init__(self, task, scene):
    pass

  def run(self, ways, starts):
    won = np.arange(len(ways)) < wins
    return SimpleNamespace(outcome=won.astype(int), steps=np.zeros(len(ways)))

task.make = lambda: SimpleNamespace(
  config=None, spec=SimpleNamespace(name='fake'), reset=lambda key: key,
  compile=lambda function: function,
)
scene.load = lambda config: None
cheats.Driver = Driver
own.CHEATS = (cheats.Cheat('lever', 0.5, (), least=0.2),)
runpy.run_module('benchmarks.cheats', None, '__main__', True)
"""


@pytest.mark.parametrize('wins, code', [(1, 1), (5, 0), (6, 1)])
def test_a_rate_out_of_its_bounds_is_an_error(tmp_path, wins, code):
  out = tmp_path / 'a.json'
  done = subprocess.run(
    [sys.executable, '-c', _FAKE, str(wins), '--episodes=10', f'--out={out}'],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    check=False,
  )
  assert done.returncode == code, done.stderr
  said = f'lever: {wins / 10:.2f}, at least 0.2, at most 0.5'
  assert done.stderr == code * f'error: Success out of bounds:\n{said}\n'
  assert out.exists()
