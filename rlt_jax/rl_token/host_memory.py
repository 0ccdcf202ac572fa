"""Refuses what does not fit in the memory of the host."""

from collections.abc import Callable
import pathlib

from rlt_jax.rl_token.frame_reader import BLOCKS

_MEMORY = pathlib.Path('/proc/meminfo')


def check_blocks(
  size: int, frames: int, read: Callable[[], str] | None = None
) -> None:
  """Raises a ValueError if the frames read ahead do not fit in free memory.

  Args:
    size: bytes of a frame as it is read, pictures included.
    frames: of a block.
    read: see `check_tokens`.
  """
  free, needed = _free_memory(read), BLOCKS * frames * size
  if free is not None and needed > free:
    raise ValueError(
      f'{BLOCKS} blocks of {frames:,} frames must fit in the free memory, '
      f'{free / 1e9:.1f} GB: at {size / 1e6:.2f} MB a frame they take '
      f'{needed / 1e9:.1f} GB. Give a smaller --set=buffer_frames; '
      f'{max(1, free // (2 * BLOCKS * size)):,} would leave half of it free.'
    )


def check_tokens(
  size: int, frames: int, read: Callable[[], str] | None = None
) -> None:
  """Raises a ValueError if tokens are larger than the memory that is free.

  Args:
    size: bytes of the tokens of the frames.
    frames: for the message.
    read: returns Linux's table of memory, its own if None; on other systems
      nothing is checked.
  """
  free = _free_memory(read)
  if free is not None and size > free:
    raise ValueError(
      f'The tokens of {frames:,} frames must fit in the free memory, '
      f'{free / 1e9:.1f} GB: they take {size / 1e9:.1f} GB. --set=cache=none '
      'keeps none of them; fewer --episodes or held_out_frames need less.'
    )


def _free_memory(read: Callable[[], str] | None) -> int | None:
  """Returns bytes, or None where that is not known."""
  try:
    text = (read or _MEMORY.read_text)()
    rows = dict(line.split(':', 1) for line in text.splitlines())
    return 1024 * int(rows['MemAvailable'].split()[0])
  except (OSError, KeyError, ValueError):
    return None
