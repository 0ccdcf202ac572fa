"""Ways to cheat on the Ethernet task, and what each may reach."""

from rlt_jax.tasks.insertion.cheats import Cheat, UPRIGHT


def _push(x: float) -> tuple[tuple[float, float, float], ...]:
  return (x, 0.0, 4.0), (x, 0.0, -13.0)


def _around(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 8.0), (x, y, -36.0), (0.0, 0.0, -36.0)


CHEATS = (
  Cheat('push, aligned', 1.0, _push(0.0), ahead=2.5, least=0.9),
  Cheat('under the socket from +x', 0.0, _around(30.0, 0.0)),
  Cheat('under the socket from -x', 0.0, _around(-30.0, 0.0)),
  Cheat('under the socket from +y', 0.0, _around(0.0, 30.0)),
  Cheat('under the socket from -y', 0.0, _around(0.0, -30.0)),
  Cheat(
    'from below, through the floor',
    0.0,
    (*_around(30.0, 0.0), (0.0, 0.0, -11.5)),
    steps=120,
  ),
  Cheat(
    'through the wall at +x',
    0.0,
    ((26.0, 0.0, 8.0), (26.0, 0.0, -8.0), (0.0, 0.0, -11.5)),
  ),
  Cheat(
    'through the wall at -x',
    0.0,
    ((-26.0, 0.0, 8.0), (-26.0, 0.0, -8.0), (0.0, 0.0, -11.5)),
  ),
  Cheat(
    'through the wall at +y',
    0.0,
    ((0.0, 26.0, 8.0), (0.0, 26.0, -8.0), (0.0, 0.0, -11.5)),
  ),
  Cheat(
    'through the wall at -y',
    0.0,
    ((0.0, -26.0, 8.0), (0.0, -26.0, -8.0), (0.0, 0.0, -11.5)),
  ),
  Cheat('ram, 2 mm beside', 0.2, _push(2.0)),
  Cheat('ram, 3 mm beside', 0.05, _push(3.0)),
  Cheat('ram, 5 mm beside', 0.0, _push(5.0)),
  Cheat('push, 3 mm beside', 0.0, _push(3.0), ahead=2.5),
  Cheat(
    'lever, a corner in by 10 degrees, then upright',
    0.85,
    ((1.5, 0.0, 4.0), (1.5, 0.0, -3.0), (0.0, 0.0, -13.0)),
    ((0.0, 10.0, 0.0), (0.0, 10.0, 0.0), UPRIGHT),
  ),
  Cheat(
    'lever, a corner in by 25 degrees, then upright',
    0.5,
    ((2.0, 0.0, 4.0), (2.0, 0.0, -3.0), (0.0, 0.0, -13.0)),
    ((0.0, 25.0, 0.0), (0.0, 25.0, 0.0), UPRIGHT),
  ),
  Cheat('hammer, 4 mm beside', 0.15, _push(4.0), shake=4.0, steps=200),
  Cheat(
    'turned by 5 degrees', 0.1, _push(0.0), ((0.0, 0.0, 5.0),) * 2, ahead=2.5
  ),
  Cheat(
    'turned by 10 degrees', 0.0, _push(0.0), ((0.0, 0.0, 10.0),) * 2, ahead=2.5
  ),
  Cheat('blind push', 0.15, _push(0.0), ahead=2.5, blind=True),
  Cheat('blind ram', 0.15, _push(0.0), blind=True),
  Cheat(
    'blind spiral',
    0.8,
    ((0.0, 0.0, 4.0), (0.0, 0.0, -13.0)),
    ahead=2.5,
    blind=True,
    spiral=1.0,
    steps=490,
  ),
)
