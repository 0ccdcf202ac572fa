"""Options of this XLA; another version has others."""

import jax
import numpy as np
import pytest

from rlt_jax.sim import compilation

_CPU = pytest.mark.skipif(
  jax.default_backend() != 'cpu', reason='options of the CPU'
)


@_CPU
@pytest.mark.parametrize(
  'name, known',
  [('xla_cpu_enable_fast_math', True), ('xla_cpu_no_such_option', False)],
)
def test_an_option_is_known_or_not(name, known):
  assert compilation._is_option(name) == known


@_CPU
@pytest.mark.parametrize('known', [True, False])
def test_only_an_option_that_is_known_is_set(monkeypatch, known):
  asked = []

  def jit(function, **kwargs):
    asked.append(kwargs)
    return function

  monkeypatch.setattr(compilation, '_is_option', lambda name: known)
  monkeypatch.setattr(jax, 'jit', jit)
  compilation.jit(np.sin, static_argnums=0)
  option = {'xla_cpu_use_fusion_emitters': False}
  expected = {'compiler_options': option} if known else {}
  assert asked == [{'static_argnums': 0} | expected]


def test_a_function_runs():
  assert compilation.jit(lambda x: x + 1)(2.0) == 3.0
