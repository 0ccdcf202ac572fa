"""Scripted pushes of the Ethernet task.

The outcomes are the geometry's. Beside the clearance of 0.3 mm the nose's
chamfer (0.8 mm) catches the rim, so 0.8 mm goes in and 1.5 mm does not; a
tilted plug touches both sides of the socket after 2 * 0.3 mm / tan(tilt); the
longer half of the plug may turn by 0.3 / 5.8 rad, 3 degrees.

Left out because they are decided by more than geometry: +0.8 mm in y, where
the friction cone ends, and -1.5 to -5 mm in y. A tip that presses on the face
creeps along +y, the way the arm gives, and may be carried into the mouth.
"""

from rlt_jax.tasks.insertion.pushes import AT_THE_LIMIT, Push

PUSHES = (
  Push('aligned', 'seated'),
  Push('x 0.2 mm', 'seated', offset=(0.2, 0)),
  Push('x 0.4 mm', 'seated', offset=(0.4, 0)),
  Push('x 0.8 mm', 'seated', offset=(0.8, 0)),
  Push('y 0.2 mm', 'seated', offset=(0, 0.2)),
  Push('y 0.4 mm', 'seated', offset=(0, 0.4)),
  Push('y -0.8 mm', 'seated', offset=(0, -0.8)),
  Push('x 1.5 mm', 'face', offset=(1.5, 0)),
  Push('x 5 mm', 'face', offset=(5, 0)),
  Push('y 1.5 mm', 'face', offset=(0, 1.5)),
  Push('y 2 mm', 'face', offset=(0, 2)),
  Push('tilt x 1', 'seated', turn=(1, 0, 0)),
  Push('tilt y 1', 'seated', turn=(0, 1, 0)),
  Push('tilt x 3', 'seated', turn=(3, 0, 0)),
  Push('tilt x 8', 'wedged', turn=(8, 0, 0)),
  Push('yaw 2', 'seated', turn=(0, 0, 2)),
  Push('yaw 10', 'face', turn=(0, 0, 10)),
  Push('aligned fast', 'seated', speed=120),
  Push('x 2 mm', 'face', offset=(2, 0)),
  Push('face at the limit', 'face', offset=(5, 0), speed=AT_THE_LIMIT),
)
