"""Scripted pushes of the screw task.

The outcomes are the geometry's and the motor's rule's. Beside the clearance of
0.1 mm the round edge of the bit (0.4 mm) catches the rim, so 0.4 mm goes in and
0.7 mm does not; the corners of the bit fit while it is turned by no more than
6 degrees. A command that follows the sinking screw ends with all turns. One
that does not follow loses the push.
"""

from rlt_jax.tasks.insertion.pushes import AT_THE_LIMIT, Push

# Control steps and mm: in, then down with the screw, pressing ahead of it.
_FOLLOW = ((20, 3.0), (30, 5.0), (120, 8.5), (140, 8.5))

PUSHES = (
  Push('aligned', 'seated', way=_FOLLOW),
  Push('x 0.3 mm', 'seated', offset=(0.3, 0), way=_FOLLOW),
  Push('x -0.3 mm', 'seated', offset=(-0.3, 0), way=_FOLLOW),
  Push('y -0.3 mm', 'seated', offset=(0, -0.3), way=_FOLLOW),
  Push('x 0.8 mm', 'face', offset=(0.8, 0), way=_FOLLOW),
  Push('y 0.8 mm', 'face', offset=(0, 0.8), way=_FOLLOW),
  Push('x -1.5 mm', 'face', offset=(-1.5, 0), way=_FOLLOW),
  Push('tilt x 2', 'seated', turn=(2, 0, 0), way=_FOLLOW),
  Push('tilt y 2', 'seated', turn=(0, 2, 0), way=_FOLLOW),
  Push('tilt x 10', 'wedged', turn=(10, 0, 0), way=_FOLLOW),
  Push('yaw 3', 'seated', turn=(0, 0, 3), way=_FOLLOW),
  Push('yaw -3', 'seated', turn=(0, 0, -3), way=_FOLLOW),
  Push('yaw 20', 'face', turn=(0, 0, 20), way=_FOLLOW),
  Push('yaw 45', 'face', turn=(0, 0, 45), way=_FOLLOW),
  Push('aligned fast', 'seated', speed=30),
  Push('not following', 'stalled', way=((20, 3.0), (30, 3.2))),
  Push(
    'push lost', 'stalled', way=((20, 3.0), (30, 5.0), (60, 6.2), (70, -1.0))
  ),
  Push(
    'push lost and back',
    'seated',
    way=(
      (20, 3.0),
      (30, 5.0),
      (60, 6.2),
      (65, 2.5),
      (70, 2.5),
      (80, 6.2),
      (140, 8.5),
      (170, 8.5),
    ),
  ),
  Push(
    'beside the head', 'plate', offset=(7.0, 0), way=((20, 3.0), (60, 12.0))
  ),
  Push('face at the limit', 'face', offset=(2.5, 0), speed=AT_THE_LIMIT),
)
