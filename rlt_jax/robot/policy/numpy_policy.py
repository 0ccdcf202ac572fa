"""The exported actor in plain NumPy, for a host without JAX."""

from collections.abc import Callable
import pathlib

import numpy as np

from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import BundleSpec

TOLERANCE = 1e-5  # normalized units, between the forms of one policy


def forward(layers: list[np.ndarray], x: np.ndarray) -> np.ndarray:
  """Returns the output [out] of the last layer for an input [in].

  Args:
    layers: kernels [in, out] and biases [out], alternating.
    x: float32 [in].
  """
  last = len(layers) - 2
  for i in range(0, len(layers), 2):
    x = x @ layers[i] + layers[i + 1]
    if i < last:
      x = np.maximum(x, 0.0)
  return x


def draw_noise(spec: BundleSpec, rng: np.random.Generator) -> np.ndarray:
  """Returns exploration noise [C, A] in normalized units; consumes `rng`.

  'per_chunk' repeats one draw over the chunk, which moves the arm instead of
  shaking it; 'per_step' draws every step.
  """
  steps = 1 if spec.exploration_noise == 'per_chunk' else spec.chunk_size
  noise = spec.exploration_std * rng.normal(size=(steps, spec.action_dim))
  noise[:, list(spec.frozen_action_dims)] = 0.0
  shape = (spec.chunk_size, spec.action_dim)
  return np.broadcast_to(noise.astype(np.float32), shape)


class NumpyPolicy:
  """The actor's mean: (z_rl, proprioception, reference) to a chunk (Eq. 4).

  Run it with `OMP_NUM_THREADS=1`: with more threads a call that takes
  microseconds waits for BLAS to wake them.
  """

  def __init__(self, spec: BundleSpec, layers: list[np.ndarray]):
    """Takes the spec and the layers that `bundle.load` returns."""
    bundle_lib.check_layers(spec, layers)
    self.spec = spec
    self._layers = [np.asarray(x, np.float32) for x in layers]
    self._mean = np.array(spec.proprio_mean, np.float32)
    self._std = np.array(spec.proprio_std, np.float32)
    self._scale = np.array(spec.action_scale, np.float32)
    self._frozen = list(spec.frozen_action_dims)

  @classmethod
  def load(cls, folder: str | pathlib.Path) -> 'NumpyPolicy':
    """Reads a bundle; see `bundle.load` for what it refuses."""
    return cls(*bundle_lib.load(folder))

  def act(
    self, z_rl: np.ndarray, proprio: np.ndarray, reference: np.ndarray
  ) -> np.ndarray:
    """Returns the chunk [C, A], normalized units.

    Args:
      z_rl: [Z] the RL token.
      proprio: [P] as measured, rad, m and per s.
      reference: [C, A] normalized, the first C steps of the VLA's chunk.

    Raises:
      ValueError: a shape differs from the bundle's, or a number is not finite.
    """
    spec = self.spec
    x = []
    for name, value, shape in (
      ('z_rl', z_rl, (spec.z_dim,)),
      ('proprio', proprio, (spec.proprio_dim,)),
      ('reference', reference, (spec.chunk_size, spec.action_dim)),
    ):
      value = np.asarray(value, np.float32)
      if value.shape != shape:
        raise ValueError(f'{name} must have the shape {shape}: {value.shape}.')
      if not np.isfinite(value).all():
        raise ValueError(f'{name} must be finite: {value}.')
      x.append(value)
    x[1] = (x[1] - self._mean) / self._std
    if not spec.reference_input:
      x.pop()
    h = forward(self._layers, np.concatenate([part.ravel() for part in x]))
    chunk = h.reshape(spec.chunk_size, spec.action_dim)
    chunk[:, self._frozen] = 0.0
    return chunk

  def decode(self, chunk: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Returns commands [C, A] (rad, m) of a chunk relative to pose [A]."""
    steps = chunk * self._scale
    if self.spec.action_mode == 'increment':
      steps = np.cumsum(steps, axis=0)
    return pose + steps


def check_agreement(
  name: str, policy: NumpyPolicy, other: Callable, *, draws: int = 32
) -> float:
  """Returns the largest difference of two forms of a policy on random inputs.

  Args:
    name: of the other form, for the error.
    policy: of the bundle.
    other: a function like `NumpyPolicy.act`.
    draws: number of random inputs.

  Raises:
    ValueError: they differ by more than `TOLERANCE`.
  """
  spec, rng, worst = policy.spec, np.random.default_rng(0), 0.0
  for _ in range(draws):
    z_rl = rng.normal(size=spec.z_dim).astype(np.float32)
    proprio = np.float32(
      spec.proprio_mean + rng.normal(size=spec.proprio_dim) * spec.proprio_std
    )
    reference = rng.normal(size=(spec.chunk_size, spec.action_dim))
    reference = reference.astype(np.float32)
    chunk = policy.act(z_rl, proprio, reference)
    difference = np.abs(chunk - np.asarray(other(z_rl, proprio, reference)))
    worst = max(worst, float(difference.max()))
  if not worst <= TOLERANCE:
    raise ValueError(
      f'NumPy and {name} must agree to {TOLERANCE:g} normalized units: '
      f'{worst:g}.'
    )
  return worst
