"""Scripted pushes of the zip tie task.

The outcomes are the geometry's. Beside the clearance of 0.2 mm the strap's
round edge (0.55 mm) catches the rim, so 0.65 mm goes in and 0.9 mm stands on
the face, where the strap buckles. A strap tilted about its thin axis touches
both sides of the slot after 2 * 0.2 mm / tan(tilt); about its wide axis it
bends, and passes up to some degrees.

Left out because they are decided by more than geometry: offsets of 0.7 to
0.8 mm, turns of 7 to 9 degrees.
"""

from rlt_jax.tasks.insertion.pushes import AT_THE_LIMIT, Push
from rlt_jax.tasks.zip_tie import push_runs

RUNS = push_runs  # what runs them, for benchmarks.pushes
# 'tight': success. 'buckled' and 'force_limit': failures. 'lost': one of these.
# 'running': neither, when the hand has stopped.
PUSHES = (
  Push('aligned', 'tight'),
  Push('x 0.3 mm', 'tight', offset=(0.3, 0)),
  Push('x 0.65 mm', 'tight', offset=(0.65, 0)),
  Push('x -0.5 mm', 'tight', offset=(-0.5, 0)),
  Push('y 0.65 mm', 'tight', offset=(0, 0.65)),
  Push('y -0.5 mm', 'tight', offset=(0, -0.5)),
  Push('x 1 mm', 'buckled', offset=(1, 0)),
  Push('x -1 mm', 'buckled', offset=(-1, 0)),
  Push('y 1 mm', 'buckled', offset=(0, 1)),
  Push('x 2 mm', 'buckled', offset=(2, 0)),
  Push('beside the head', 'running', offset=(7, 0)),
  Push('bent by 4 degrees', 'tight', turn=(0, 4, 0)),
  Push('bent by 15 degrees', 'buckled', turn=(0, 15, 0)),
  Push('tilt 2', 'tight', turn=(2, 0, 0)),
  Push('tilt 6', 'buckled', turn=(6, 0, 0)),
  Push('yaw 3', 'tight', turn=(0, 0, 3)),
  Push('yaw 15', 'buckled', turn=(0, 0, 15)),
  Push('aligned fast', 'tight', speed=120),
  Push('face fast', 'lost', offset=(2, 0), speed=120),
  Push('face at the limit', 'force_limit', offset=(2, 0), speed=AT_THE_LIMIT),
)
