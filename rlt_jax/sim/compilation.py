"""Compiler options of programs that contain the simulator."""

from collections.abc import Callable

import jax


def jit(function: Callable, **kwargs) -> Callable:
  """Jits a function that contains the simulator; `kwargs` are `jax.jit`'s.

  XLA's CPU fusion emitters make the kinematics of a serial arm about 60 times
  slower, so they are turned off for these functions. The learner is faster with
  them, so they stay on elsewhere.
  """
  if jax.default_backend() == 'cpu':
    kwargs['compiler_options'] = {'xla_cpu_use_fusion_emitters': False}
  return jax.jit(function, **kwargs)
