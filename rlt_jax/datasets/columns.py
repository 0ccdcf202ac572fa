"""Which columns of a dataset have the usual meaning, by their names."""

from rlt_jax.datasets import aloha
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.recording import Recording

STATE_KEYS = (format_lib.STATE, aloha.STATE)
ACTION_KEYS = (format_lib.ACTION,)
_VELOCITY_KEYS = (
  format_lib.JOINT_VELOCITY, 'observation.velocity', aloha.VELOCITY,
)  # fmt: skip


def find_state(recording: Recording) -> str:
  """Returns the key of the measured joints.

  Raises:
    ValueError: there is none.
  """
  return _find(recording, STATE_KEYS, 'measured joints')


def find_action(recording: Recording) -> str:
  """Returns the key of the commands.

  Raises:
    ValueError: there is none.
  """
  return _find(recording, ACTION_KEYS, 'commands')


def find_velocity(recording: Recording) -> str | None:
  """Returns the key of the joints' velocities, as many as the state has."""
  size = len(recording.vectors[find_state(recording)])
  for key in _VELOCITY_KEYS:
    if len(recording.vectors.get(key, ())) == size:
      return key
  return None


def _find(recording: Recording, keys: tuple[str, ...], what: str) -> str:
  for key in keys:
    if key in recording.vectors:
      return key
  raise ValueError(
    f'A dataset must have a column of {what}, one of {list(keys)}: '
    f'{recording.path} has {list(recording.vectors)}. Name it in the mapping '
    'with state_key or action_key.'
  )
