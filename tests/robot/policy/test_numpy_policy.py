import subprocess
import sys

import numpy as np
import pytest

from rlt_jax.robot.policy.numpy_policy import draw_noise, NumpyPolicy
from tests.robot.conftest import make_layers, make_spec

_Z = np.linspace(-1, 1, 6)
_P = np.linspace(0, 1, 5)
_REF = np.linspace(-2, 2, 12).reshape(4, 3)


def test_the_forward_pass_is_the_actors(spec):
  layers = make_layers(spec)
  x = np.concatenate(
    [_Z, (_P - spec.proprio_mean) / spec.proprio_std, _REF.ravel()]
  )
  for i in (0, 2):
    x = np.maximum(x @ layers[i] + layers[i + 1], 0)
  expected = (x @ layers[4] + layers[5]).reshape(4, 3)
  expected[:, 1] = 0.0
  chunk = NumpyPolicy(spec, layers).act(_Z, _P, _REF)
  np.testing.assert_allclose(chunk, expected, atol=1e-5)


def test_an_actor_without_reference_input_ignores_it():
  spec = make_spec(reference_input=False)
  policy = NumpyPolicy(spec, make_layers(spec))
  np.testing.assert_array_equal(
    policy.act(_Z, _P, _REF), policy.act(_Z, _P, -_REF)
  )


@pytest.mark.parametrize('mode', ['offset', 'increment'])
def test_commands_are_in_joint_units(mode):
  spec = make_spec(action_mode=mode)
  policy, pose = NumpyPolicy(spec, make_layers(spec)), np.array([0.1, 0.2, 0.3])
  commands = policy.decode(np.ones((4, 3)), pose)
  steps = np.arange(1, 5) if mode == 'increment' else np.ones(4)
  expected = pose + steps[:, None] * np.array(spec.action_scale)
  np.testing.assert_allclose(commands, expected, rtol=1e-6)


@pytest.mark.parametrize('kind, draws', [('per_chunk', 1), ('per_step', 4)])
def test_noise_is_drawn_per_chunk_or_per_step(kind, draws):
  spec = make_spec(exploration_noise=kind, exploration_std=0.5)
  noise = draw_noise(spec, np.random.default_rng(3))
  expected = 0.5 * np.random.default_rng(3).normal(size=(draws, 3))
  expected[:, 1] = 0.0  # a frozen entry
  np.testing.assert_allclose(
    noise, np.broadcast_to(expected, (4, 3)), rtol=1e-6
  )


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'z_rl': np.zeros(5)}, r'z_rl must have the shape \(6,\): \(5,\)'),
    ({'proprio': np.full(5, np.nan)}, 'proprio must be finite'),
    ({'reference': np.zeros((3, 3))}, r'reference must have the shape \(4, 3'),
  ],
)
def test_bad_input_is_refused_by_name(spec, changes, message):
  given = {'z_rl': _Z, 'proprio': _P, 'reference': _REF} | changes
  with pytest.raises(ValueError, match=message):
    NumpyPolicy(spec, make_layers(spec)).act(**given)


def test_the_host_needs_neither_jax_nor_mujoco():
  code = (
    'import sys, rlt_jax.robot.policy; '
    'print(sorted({"jax", "chex", "mujoco", "flax"} & set(sys.modules)))'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == '[]'
