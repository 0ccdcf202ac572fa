import numpy as np
import pytest

from rlt_jax.robot.policy.bundle import BundleSpec


def make_spec(**changes) -> BundleSpec:
  fields = {
    'chunk_size': 4,
    'inference_delay': 0,
    'replay_stride': 2,
    'z_dim': 6,
    'hidden_dims': (16, 16),
    'reference_input': True,
    'frozen_action_dims': (1,),
    'exploration_std': 0.3,
    'exploration_noise': 'per_chunk',
    'gamma': 0.99,
    'intervention_reference': 'human',
    'control_hz': 50.0,
    'joint_names': ('a', 'b', 'grip'),
    'joint_units': ('rad', 'rad', 'm'),
    'joint_low': (-1.0, -1.0, 0.0),
    'joint_high': (1.0, 1.0, 0.03),
    'reach': (0.01, 0.01, 0.005),
    'action_mode': 'offset',
    'action_scale': (0.002, 0.001, 0.0005),
    'proprio_names': ('a.pos', 'b.pos', 'grip.pos', 'a.vel', 'b.vel'),
    'proprio_mean': (0.1, 0.2, 0.3, 0.4, 0.5),
    'proprio_std': (1.0, 2.0, 0.5, 0.1, 1.0),
    'cameras': ('wrist',),
    'prompt': 'insert',
    'vla_fingerprint': 'abc',
    'token_fingerprint': 'def',
    'run': {'task': 'test'},
  }
  return BundleSpec(**(fields | changes))


def make_layers(spec: BundleSpec) -> list[np.ndarray]:
  rng = np.random.default_rng(0)
  out = spec.chunk_size * spec.action_dim
  inputs = spec.z_dim + spec.proprio_dim + out * spec.reference_input
  layers = []
  widths = (inputs, *spec.hidden_dims, out)
  for before, after in zip(widths[:-1], widths[1:], strict=True):
    layers += [rng.normal(size=(before, after)), rng.normal(size=after)]
  return [np.float32(x / 4) for x in layers]


@pytest.fixture
def spec():
  return make_spec()
