"""Compiled programs, kept between runs."""

import logging
import os
import pathlib
import sys

import jax


def keep_compiled() -> None:
  """Keeps compiled programs in the user's cache folder, for all runs.

  A folder of the user's own, JAX_COMPILATION_CACHE_DIR, wins. Where no folder
  can be written to, a line says so and every run compiles anew.
  """
  if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    return  # JAX reads it
  try:
    root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    folder = pathlib.Path(root) / 'rlt_jax' / 'compiled'
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
      raise PermissionError(f'no permission to write to {folder}')
  except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
    print(
      f'Compiled programs are not kept between runs: {str(error).rstrip(".")}. '
      'Name a folder with JAX_COMPILATION_CACHE_DIR.',
      file=sys.stderr,
    )
    # It would say the same of its own folder, in three lines.
    logging.getLogger('matplotlib').setLevel(logging.ERROR)
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
