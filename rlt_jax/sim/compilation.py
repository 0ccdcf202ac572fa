"""Compiler options of programs that contain the simulator."""

from collections.abc import Callable
import functools

import jax

from rlt_jax.sim.precision import full_precision

_FUSION_EMITTERS = 'xla_cpu_use_fusion_emitters'


def jit(function: Callable, **kwargs) -> Callable:
  """Jits a function that contains the simulator; `kwargs` are `jax.jit`'s.

  All products in it are full float32, see `full_precision`.

  The CPU fusion emitters of jaxlib 0.10 and 0.11.0 can make the kinematics of a
  serial arm 60 times slower and double the time to compile, so they are turned
  off for these functions. The learner is faster with them, so they stay on
  elsewhere. Later versions have no such option and do not need it: a chunk of 8
  worlds takes 15 ms with 0.12.0, and 20 ms with 0.10.2 and the option.
  """
  if jax.default_backend() == 'cpu' and _is_option(_FUSION_EMITTERS):
    kwargs['compiler_options'] = {_FUSION_EMITTERS: False}
  return jax.jit(full_precision(function), **kwargs)


@functools.cache
def _is_option(name: str) -> bool:
  """Returns whether this XLA has a compiler option of a name."""
  try:
    jax.jit(lambda: 0, compiler_options={name: False}).lower().compile()
  except jax.errors.JaxRuntimeError:  # 'No such compile option'
    return False
  return True
