"""Builds arms by the kind that a station's file names."""

from collections.abc import Mapping
import importlib
from typing import Any

from rlt_jax.robot.arm import Arm, ArmSpec
from rlt_jax.robot.clock import Clock

# Kind -> module, class, class of its config. Imported when used, because each
# needs its vendor's package.
_ARMS = {
  'trossen': ('rlt_jax.robot.arms.trossen', 'TrossenArms', 'TrossenConfig'),
  'piper': ('rlt_jax.robot.arms.piper', 'PiperArms', 'PiperConfig'),
  'fake': ('rlt_jax.robot.arms.fake', 'FakeArm', None),
}
KINDS = tuple(_ARMS)


def build(
  kind: str, arguments: Mapping[str, Any], *, spec: ArmSpec, clock: Clock
) -> Arm:
  """Builds an arm; opens nothing.

  Args:
    kind: of KINDS, or 'package.module:function', called with the spec,
      `clock=` and the arguments.
    arguments: of the kind's config.
    spec: the arm's file.
    clock: the loop's.
  """
  if kind not in _ARMS:
    module, _, name = kind.partition(':')
    make = getattr(importlib.import_module(module), name)
    return make(spec, clock=clock, **arguments)
  module, name, config = _ARMS[kind]
  module = importlib.import_module(module)
  if config is not None:
    arguments = {'config': getattr(module, config)(**arguments)}
  return getattr(module, name)(spec, clock=clock, **arguments)
