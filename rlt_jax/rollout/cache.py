"""What a program asks of JAX before it starts a device."""

import os
import pathlib

import jax

from rlt_jax.sim import threads


def keep_compiled() -> None:
  """Keeps compiled programs in the user's cache folder, for all runs.

  Call it first: it also asks for the threads that many worlds need.
  """
  threads.spare()
  root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  folder = pathlib.Path(root) / 'rlt_jax' / 'compiled'
  jax.config.update('jax_compilation_cache_dir', str(folder))
