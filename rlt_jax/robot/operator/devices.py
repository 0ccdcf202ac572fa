"""Builds the operator's devices by the kind that a station's file names.

Arguments by kind (`operator_arguments` of the station):

  terminal    keys: {"t": "takeover", ...}
  gamepad     index, buttons
  pedal       path, buttons
  spacemouse  the fields of `SpaceMouseConfig`, buttons
  leader      arm, arm_arguments: a kind of arm with the joints of the arm's
              file, which is only read
  group       devices: [{"kind": "terminal", "arguments": {...}}, ...]

Buttons are {"down": {"0": "success"}, "up": {...}}; what they may give is in
`events.Kind`. Only `path`, `arm`, `devices` and the fields without a default
must be given.
"""

from collections.abc import Callable, Collection, Mapping
import dataclasses
from typing import Any

from rlt_jax.robot import named_parts
from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.arms import factory
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.operator.events import ButtonMap, Device, Kind

Arguments = Mapping[str, Any]


def build(
  kind: str, arguments: Arguments, *, spec: ArmSpec, clock: Clock
) -> Device:
  """Builds a device; opens nothing.

  Args:
    kind: of KINDS, or 'package.module:function', called with `clock=` and the
      arguments.
    arguments: see the module.
    spec: the arm's file.
    clock: the loop's.

  Raises:
    ValueError: an unknown kind, or an argument that is missing, unknown or
      breaks its rule.
  """
  if kind in _BUILDERS:
    return _BUILDERS[kind](arguments, spec, clock)
  if ':' not in kind:
    raise ValueError(
      f"A device must be one of {KINDS} or 'module:function': {kind!r}."
    )
  make = named_parts.load(kind, 'operator')
  return named_parts.call(
    make, 'operator_arguments', clock=clock, arguments=arguments
  )


def _terminal(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import terminal

  del spec
  _check('terminal', arguments, optional=('keys',))
  keys = terminal.KEYS
  if 'keys' in arguments:
    keys = {key: _kind(name) for key, name in arguments['keys'].items()}
  return terminal.Terminal(keys, clock=clock)


def _gamepad(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import gamepad

  del spec
  _check('gamepad', arguments, optional=('index', 'buttons'))
  buttons = _buttons(arguments, gamepad.BUTTONS, int)
  return gamepad.Gamepad(buttons, index=arguments.get('index', 0), clock=clock)


def _pedal(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import pedal

  del spec
  _check('pedal', arguments, required=('path',), optional=('buttons',))
  buttons = _buttons(arguments, pedal.PEDALS, str)
  return pedal.Pedal(arguments['path'], buttons, clock=clock)


def _spacemouse(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import spacemouse

  fields = dataclasses.fields(spacemouse.SpaceMouseConfig)
  required = [x.name for x in fields if x.default is dataclasses.MISSING]
  optional = [x.name for x in fields if x.name not in required]
  _check('spacemouse', arguments, required, [*optional, 'buttons'])
  config = {k: v for k, v in arguments.items() if k != 'buttons'}
  return spacemouse.SpaceMouse(
    spec,
    spacemouse.SpaceMouseConfig(**config),
    _buttons(arguments, spacemouse.BUTTONS, int),
    clock=clock,
  )


def _leader(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import leader

  _check('leader', arguments, required=('arm',), optional=('arm_arguments',))
  arm = factory.build(
    arguments['arm'],
    arguments.get('arm_arguments', {}),
    spec=spec,
    clock=clock,
  )
  return leader.Leader(arm, spec, clock=clock)


def _group(arguments: Arguments, spec: ArmSpec, clock: Clock) -> Device:
  from rlt_jax.robot.operator import group

  _check('group', arguments, required=('devices',))
  devices = []
  for entry in arguments['devices']:
    _check('group.devices', entry, required=('kind',), optional=('arguments',))
    device = build(
      entry['kind'], entry.get('arguments', {}), spec=spec, clock=clock
    )
    devices.append(device)
  return group.Group(devices, clock=clock)


_BUILDERS: Mapping[str, Callable[[Arguments, ArmSpec, Clock], Device]] = {
  'terminal': _terminal,
  'gamepad': _gamepad,
  'pedal': _pedal,
  'spacemouse': _spacemouse,
  'leader': _leader,
  'group': _group,
}
KINDS = tuple(_BUILDERS)


def _buttons(
  arguments: Arguments, default: ButtonMap, name_type: type
) -> ButtonMap:
  """Returns the buttons of a station's file; JSON has only text as keys."""
  if 'buttons' not in arguments:
    return default
  edges = arguments['buttons']
  _check('buttons', edges, required=('down',), optional=('up',))
  read = {}
  for edge, buttons in edges.items():
    try:
      read[edge] = {name_type(x): _kind(kind) for x, kind in buttons.items()}
    except ValueError as error:
      raise ValueError(f'buttons.{edge}: {error}') from None
  return ButtonMap(**read)


def _kind(name: str) -> Kind:
  kinds = [kind.value for kind in Kind]
  if name not in kinds:
    raise ValueError(f'An event must be one of {kinds}: {name!r}.')
  return Kind(name)


def _check(
  kind: str,
  arguments: Arguments,
  required: Collection[str] = (),
  optional: Collection[str] = (),
) -> None:
  if missing := sorted(set(required) - set(arguments)):
    raise ValueError(f'{kind} must have the arguments {missing}.')
  known = sorted({*required, *optional})
  if unknown := sorted(set(arguments) - set(known)):
    raise ValueError(
      f'The arguments of {kind} must be among {known}: {unknown}.'
    )
