"""Ways to cheat on the screw task, and what each may reach."""

from rlt_jax.tasks.insertion.cheats import Cheat, LIMIT

_Points = tuple[tuple[float, float, float], ...]


def _push(x: float, y: float = 0.0) -> _Points:
  return (x, y, 3.0), (x, y, -15.0)


def _around(x: float, y: float) -> _Points:
  return (x, y, 8.0), (x, y, -44.0), (0.0, 0.0, -44.0)


def _through(x: float, y: float) -> _Points:
  return (x, y, 6.0), (x, y, -2.2), (0.0, 0.0, -2.2)


_CALM = 2.5  # mm ahead
_BESIDE = 7.0  # mm, beside the head
_OFF = 50.0  # mm, beside the plate

CHEATS = (
  Cheat('push, aligned', 1.0, _push(0.0), ahead=_CALM, steps=200, least=0.9),
  Cheat('under the plate from +x', 0.0, _around(_OFF, 0.0), steps=140),
  Cheat(
    'from below, through the floor',
    0.0,
    (*_around(_OFF, 0.0), (0.0, 0.0, -2.2)),
    steps=200,
  ),
  Cheat('through the wall at +x', 0.0, _through(_BESIDE, 0.0), steps=130),
  Cheat('through the wall at -x', 0.0, _through(-_BESIDE, 0.0), steps=130),
  Cheat('through the wall at +y', 0.0, _through(0.0, _BESIDE), steps=130),
  Cheat('through the wall at -y', 0.0, _through(0.0, -_BESIDE), steps=130),
  Cheat('push, 1.5 mm beside', 0.0, _push(1.5), ahead=_CALM, steps=140),
  Cheat('ram, 1.5 mm beside', 0.0, _push(1.5), steps=140),
  Cheat('push on the plate', 0.0, _push(_BESIDE), ahead=_CALM, steps=140),
  Cheat(
    'turned by 20 degrees',
    0.0,
    _push(0.0),
    ((0.0, 0.0, 20.0),) * 2,
    ahead=_CALM,
    steps=140,
  ),
  Cheat(
    'turned by 45 degrees',
    0.0,
    _push(0.0),
    ((0.0, 0.0, 45.0),) * 2,
    ahead=_CALM,
    steps=140,
  ),
  Cheat(
    'tilted by 15 degrees',
    0.0,
    _push(0.0),
    ((15.0, 0.0, 0.0),) * 2,
    ahead=_CALM,
    steps=140,
  ),
  Cheat(
    'in the recess without a push',
    0.0,
    ((0.0, 0.0, 3.0), (0.0, 0.0, -2.3)),
    ahead=_CALM,
    steps=140,
  ),
  Cheat('hardly pressed', 0.0, _push(0.0), ahead=0.3, steps=300),
  Cheat(
    'pressed, but not followed',
    0.0,
    ((0.0, 0.0, 3.0), (0.0, 0.0, -3.4)),
    ahead=_CALM,
    steps=200,
  ),
  Cheat('hammer', 0.0, _push(0.0), shake=3.0, ahead=LIMIT, steps=200),
  Cheat('blind push', 0.1, _push(0.0), ahead=_CALM, blind=True, steps=200),
  Cheat('blind ram', 0.1, _push(0.0), blind=True, steps=200),
  Cheat(
    'blind spiral',
    0.5,
    ((0.0, 0.0, 3.0), (0.0, 0.0, -15.0)),
    ahead=_CALM,
    blind=True,
    spiral=0.7,
    steps=490,
  ),
)
