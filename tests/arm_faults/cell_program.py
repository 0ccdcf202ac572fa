"""`experiments.robot_cell` with the campaign's arm, operator and VLA server.

The cell itself, its loop and its learner are the real ones.
"""

import dataclasses
import os
import sys

from experiments import launch, robot_cell
from rlt_jax.robot import local_cell
from tests.arm_faults.rig import STATION

_LEARNS = ('learning_starts=8', 'agent.batch_size=8')
_OF_THE_SIMULATION = ('station', 'bundle', 'vla', 'arm_spec')
_run, _make_command = local_cell.run, robot_cell._command


def make_command(name, values):
  if name == 'serve_vla':
    module = [sys.executable, '-m', 'tests.arm_faults.parts']
    return [*module, str(values['port'])]
  if name == 'run_learner':
    command = _make_command(name, {'save_every_s': 0.5} | values)
    return [*command, *(f'--set={x}' for x in _LEARNS)]
  values = {k: v for k, v in values.items() if k not in _OF_THE_SIMULATION}
  values |= {'station': os.environ[STATION], 'realtime': False}
  command = _make_command(name, values)
  return [
    'tests.arm_faults.loop' if x == 'experiments.robot' else x for x in command
  ]


def run(config, _):
  return _run(dataclasses.replace(config, task=()), make_command)


local_cell.run = run

if __name__ == '__main__':
  launch.run(robot_cell.main, keep_compiled=False)
