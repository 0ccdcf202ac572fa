"""A mapping file to fill in: what a dataset says, and '?' for what it does not.

A '?' is refused when the file is read, so nothing is guessed.
"""

import json
from typing import Any

from rlt_jax.datasets import columns
from rlt_jax.datasets.mapping import DIFFERENCES
from rlt_jax.datasets.recording import Recording

_OPEN = '?'


def write_draft(recording: Recording) -> str:
  """Returns the text of a mapping file to fill in.

  Args:
    recording: the dataset.

  Raises:
    ValueError: the dataset has no state or no actions.
  """
  state_key, action_key = columns.find_state(recording), columns.find_action(
    recording
  )  # fmt: skip
  states = recording.vectors[state_key]
  actions = recording.vectors[action_key]
  joints = []
  for action in actions:
    row = {'joint': _joint(action)}
    row |= {'state': action if action in states else _OPEN}
    row |= {} if action in states else {'action': action}
    joints.append(row | {'recorded': _OPEN})
  table: dict[str, Any] = {
    'joints': joints,
    'cameras': [
      {'camera': key.replace('/', '.').rpartition('.')[2], 'key': key}
      for key in recording.cameras
    ],
    'actions': _OPEN,
    'control_hz': recording.fps or _OPEN,
    'resample': 'never',
    'velocities': columns.find_velocity(recording) or DIFFERENCES,
  }
  unused = [x for x in states if x not in actions]
  table |= {'unused': unused} if unused else {}
  if state_key != columns.STATE_KEYS[0]:
    table['state_key'] = state_key
  if recording.fps is None:
    table |= {'fps': _OPEN, 'color_order': _OPEN, 'instruction': _OPEN}
  return _to_text(table)


def _joint(entry: str) -> str:
  """Returns the name of a joint from that of its number."""
  return entry.removesuffix('.pos').removesuffix('.position')


def _to_text(table: dict[str, Any]) -> str:
  """Returns JSON with a line for every joint and camera."""
  parts = []
  for name, value in table.items():
    text = json.dumps(value)
    if name in ('joints', 'cameras'):
      rows = ',\n    '.join(json.dumps(row) for row in value)
      text = f'[\n    {rows}\n  ]'
    parts.append(f'  {json.dumps(name)}: {text}')
  return '{\n' + ',\n'.join(parts) + '\n}\n'
