"""Frozen VLAs, one folder each, opened by name.

A shipped VLA has a name; any other is given as 'module:function'. The function
takes nothing, or the text after a second colon, and returns a
`vlas.vla.FrozenVla`.
"""

import inspect

from rlt_jax import plugins
from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.vla import FrozenVla

SHIPPED = {
  'pi_small': 'rlt_jax.vlas.pi_small.pi_vla:open_vla',
  'openpi': 'rlt_jax.vlas.openpi.openpi_vla:open_vla',
}
_WHAT = 'A VLA'


def is_address(text: str) -> bool:
  """Returns whether a --vla= value is a server's address."""
  return text.startswith(('ws://', 'wss://'))


def load(text: str) -> FrozenVla:
  """Opens a VLA in this process.

  Args:
    text: 'pi_small', 'pi_small:FOLDER', 'openpi:CONFIGURATION:CHECKPOINT',
      'module:function' or 'module:function:ARGUMENT'.

  Raises:
    ValueError: no such VLA, a function that does not take the argument or
      returns another type, or a VLA whose shapes contradict its spec.
  """
  if is_address(text):
    raise ValueError(
      f'A VLA behind a socket hands out no weights: {text!r}. Only practice, '
      'sweep, evaluate and train_token can use it; give here the VLA itself, '
      "by name or as 'module:function'."
    )
  if '://' in text:
    raise ValueError(
      f'{_WHAT} behind a socket must have an address such as '
      f"'ws://127.0.0.1:8000' or 'wss://...': {text!r}."
    )
  parts = text.split(':', 2)
  if parts[0] in SHIPPED:
    parts = [parts[0], *([':'.join(parts[1:])] if parts[1:] else [])]
  else:
    parts = [':'.join(parts[:2]), *parts[2:]]
  function = plugins.load_object(parts[0], shipped=SHIPPED, what=_WHAT)
  arguments = parts[1:]
  if arguments == ['']:
    raise ValueError(
      f'{_WHAT} must have a text after its last colon, such as a folder, or no '
      f'such colon: {text!r}.'
    )
  try:
    inspect.signature(function).bind(*arguments)
  except TypeError as error:
    raise ValueError(
      f"{_WHAT} must be 'module:function' of a function that takes nothing, or "
      f"'module:function:ARGUMENT' of one that takes a text: {text!r} "
      f'({error}).'
    ) from None
  vla = function(*arguments)
  plugins.check_type(vla, FrozenVla, text, _WHAT)
  vla_lib.check_shapes(vla)
  return vla
