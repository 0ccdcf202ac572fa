"""Replay: builds rows from executed segments and stores them in a ring."""

from rlt_jax.replay.ring import (
  check_ready,
  make_ring,
  nbytes,
  Replay,
  ReplayState,
)
from rlt_jax.replay.rows import (
  build_rows,
  empty_segment,
  select_fields,
  transition_spec,
)

__all__ = [
  'Replay',
  'ReplayState',
  'build_rows',
  'check_ready',
  'empty_segment',
  'make_ring',
  'nbytes',
  'select_fields',
  'transition_spec',
]
