"""Scripted pushes of the charger task.

The outcomes are the geometry's. Beside the clearance of 0.5 mm the prongs'
round edge (0.75 mm) catches the rim, so 1.2 mm goes in and 2 mm does not; a
prong touches both sides of its slot after 2 * 0.5 mm / tan(tilt); the ends of a
prong may turn by (0.5 + 0.75) / 6.35 rad about the plug's axis, some degrees.

Left out because they are decided by more than geometry: offsets of +1 mm and of
-1.5 to -5 mm in y. A tip that presses on the face creeps along +y, the way the
arm gives, and may be carried into the slots or off their edge.
"""

from rlt_jax.tasks.insertion.pushes import AT_THE_LIMIT, Push

PUSHES = (
  Push('aligned', 'seated'),
  Push('x 0.4 mm', 'seated', offset=(0.4, 0)),
  Push('x 1.2 mm', 'seated', offset=(1.2, 0)),
  Push('y 0.4 mm', 'seated', offset=(0, 0.4)),
  Push('y -1 mm', 'seated', offset=(0, -1)),
  Push('x 2 mm', 'face', offset=(2, 0)),
  Push('x -2 mm', 'face', offset=(-2, 0)),
  Push('x 5 mm', 'face', offset=(5, 0)),
  Push('y 2 mm', 'face', offset=(0, 2)),
  Push('one prong in the other slot', 'face', offset=(0, 12.7)),
  Push('tilt x 1', 'seated', turn=(1, 0, 0)),
  Push('tilt y 1', 'seated', turn=(0, 1, 0)),
  Push('tilt x 3', 'seated', turn=(3, 0, 0)),
  Push('tilt y 3', 'seated', turn=(0, 3, 0)),
  Push('tilt x 8', 'wedged', turn=(8, 0, 0)),
  Push('tilt y 8', 'wedged', turn=(0, 8, 0)),
  Push('yaw 2', 'seated', turn=(0, 0, 2)),
  Push('yaw 10', 'face', turn=(0, 0, 10)),
  Push('aligned fast', 'seated', speed=120),
  Push('face at the limit', 'face', offset=(5, 0), speed=AT_THE_LIMIT),
)
