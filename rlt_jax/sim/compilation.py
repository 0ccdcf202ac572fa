"""How programs that contain the simulator are compiled."""

from collections.abc import Callable

import jax


def jit(function: Callable, **kwargs) -> Callable:
  """Jits a function that contains the simulator; `kwargs` are `jax.jit`'s.

  XLA's CPU fusion emitters make a serial arm's kinematics some 60 times
  slower, so they are turned off for such functions, and for these only: the
  learner is faster with them.
  """
  if jax.default_backend() == 'cpu':
    kwargs['compiler_options'] = {'xla_cpu_use_fusion_emitters': False}
  return jax.jit(function, **kwargs)
