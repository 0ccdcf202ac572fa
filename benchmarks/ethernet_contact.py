"""Stiffness of a contact of the Ethernet task, and the force of a blow.

  python -m benchmarks.ethernet_contact --out=contact.json

Under C MuJoCo, with 100 solver iterations, a straight plug is pressed at rest
on the socket's floor, where four corners touch, and on its face, where one
does. Then it is driven onto the face with the largest command all the way. Each
timestep and time constant of the contacts gives a row.

Expected: about a minute on one core.
"""

import json

from benchmarks import out_file
from experiments import launch
from rlt_jax import files
from rlt_jax.reporting import provenance

_OUT = out_file.define_out()
_PHYSICS = ((0.004, 0.008), (0.002, 0.008), (0.001, 0.008), (0.001, 0.002))


def main() -> None:
  """Prints a row for each physics."""
  out_file.check(_OUT.value)
  from benchmarks import plug_contact

  rows = []
  for timestep, time_constant in _PHYSICS:
    rows.append(plug_contact.measure(timestep, time_constant))
    print(json.dumps(rows[-1]), flush=True)
  if _OUT.value:
    table = {
      'command': launch.command_line(),
      'commit': provenance.commit(),
      'versions': provenance.versions(),
      'rows': rows,
    }
    files.write_atomically(_OUT.value, json.dumps(table) + '\n')


if __name__ == '__main__':
  launch.run(main, saves_nothing=True)
