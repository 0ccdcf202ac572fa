"""Compiled programs, kept between runs."""

import os
import pathlib

import jax


def keep_compiled() -> None:
  """Keeps compiled programs in the user's cache folder, for all runs."""
  root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  folder = pathlib.Path(root) / 'rlt_jax' / 'compiled'
  jax.config.update('jax_compilation_cache_dir', str(folder))
