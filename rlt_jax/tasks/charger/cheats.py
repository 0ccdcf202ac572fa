"""Ways to cheat on the charger task, and what each may reach."""

from rlt_jax.tasks.insertion.cheats import Cheat, UPRIGHT


def _push(x: float, y: float = 0.0) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 4.0), (x, y, -15.0)


def _around(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 8.0), (x, y, -44.0), (0.0, 0.0, -44.0)


def _through(x: float, y: float) -> tuple[tuple[float, float, float], ...]:
  return (x, y, 8.0), (x, y, -8.0), (0.0, 0.0, -13.5)


_BESIDE = 45.0  # mm, where no prong meets the face

CHEATS = (
  Cheat('push, aligned', 1.0, _push(0.0), ahead=2.5, steps=120, least=0.9),
  Cheat('under the socket from +x', 0.0, _around(_BESIDE, 0.0), steps=140),
  Cheat('under the socket from -y', 0.0, _around(0.0, -_BESIDE), steps=140),
  Cheat(
    'from below, through the floor',
    0.0,
    (*_around(_BESIDE, 0.0), (0.0, 0.0, -13.5)),
    steps=170,
  ),
  Cheat('through the wall at +x', 0.0, _through(_BESIDE, 0.0), steps=120),
  Cheat('through the wall at -x', 0.0, _through(-_BESIDE, 0.0), steps=120),
  Cheat('through the wall at +y', 0.0, _through(0.0, _BESIDE), steps=120),
  Cheat('through the wall at -y', 0.0, _through(0.0, -_BESIDE), steps=120),
  Cheat('one prong in the other slot', 0.0, _push(0.0, 12.7), ahead=2.5),
  Cheat(
    'one prong in the other slot, then across',
    0.0,
    ((0.0, -12.7, 4.0), (0.0, -12.7, -6.0), (0.0, 0.0, -13.5)),
    ahead=2.5,
    steps=120,
  ),
  Cheat('ram, 3 mm beside', 0.05, _push(3.0)),
  Cheat('push, 3 mm beside', 0.0, _push(3.0), ahead=2.5),
  Cheat(
    'lever, a prong in by 25 degrees, then upright',
    0.2,
    ((0.0, 2.0, 4.0), (0.0, 2.0, -3.0), (0.0, 0.0, -15.0)),
    ((25.0, 0.0, 0.0), (25.0, 0.0, 0.0), UPRIGHT),
    steps=120,
  ),
  Cheat('hammer, 4 mm beside', 0.15, _push(4.0), shake=4.0, steps=200),
  Cheat(
    'turned by 10 degrees', 0.0, _push(0.0), ((0.0, 0.0, 10.0),) * 2, ahead=2.5
  ),
  Cheat(
    'turned by 80 degrees', 0.0, _push(0.0), ((0.0, 0.0, 80.0),) * 2, ahead=2.5
  ),
  Cheat('blind push', 0.1, _push(0.0), ahead=2.5, blind=True, steps=120),
  Cheat('blind ram', 0.1, _push(0.0), blind=True, steps=120),
  Cheat(
    'blind spiral',
    0.8,
    ((0.0, 0.0, 4.0), (0.0, 0.0, -15.0)),
    ahead=2.5,
    blind=True,
    spiral=1.5,
    steps=490,
  ),
)
