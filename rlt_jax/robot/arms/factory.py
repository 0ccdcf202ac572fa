"""Builds arms by the kind that a station's file names."""

from collections.abc import Mapping
import importlib
from typing import Any

from rlt_jax import config as config_lib
from rlt_jax.robot import named_parts
from rlt_jax.robot.arm import Arm, ArmSpec
from rlt_jax.robot.clock import Clock

# Kind -> module, class or function, class of its config. Imported when used,
# because each needs its vendor's package.
_ARMS = {
  'trossen': ('rlt_jax.robot.arms.trossen', 'TrossenArms', 'TrossenConfig'),
  'piper': ('rlt_jax.robot.arms.piper', 'PiperArms', 'PiperConfig'),
  'lerobot': ('rlt_jax.robot.arms.lerobot', 'open_robot', 'LeRobotStation'),
  'fake': ('rlt_jax.robot.arms.fake', 'open_fake', 'FakeConfig'),
}
KINDS = tuple(_ARMS)
_FIELD = 'arm_arguments'


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

  Raises:
    ValueError: no such function, or arguments that do not fit it.
  """
  if kind not in _ARMS:
    make = named_parts.load(kind, 'arm')
    return named_parts.call(
      make, _FIELD, spec, clock=clock, arguments=arguments
    )
  name, make, config = _ARMS[kind]
  module = importlib.import_module(name)
  config = config_lib.from_arguments(
    getattr(module, config), arguments, f'{_FIELD} of {kind!r}'
  )
  return named_parts.call(
    getattr(module, make), _FIELD, spec, config, clock=clock, arguments={}
  )
