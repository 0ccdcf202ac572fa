import numpy as np
import pytest

from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small.config import PiConfig
from tests.training.conftest import assets  # noqa: F401


@pytest.fixture(scope='session')
def config():
  return PiConfig(
    cameras=('top', 'side'),
    image_size=16,
    proprio_dim=4,
    prompt_length=3,
    vocabulary=16,
    horizon=4,
    action_dim=2,
    prefix_width=16,
    expert_width=16,
    depth=2,
    num_heads=2,
    head_dim=8,
    stem_widths=(16, 16),
    summary_widths=(8, 16),
    readout_slots=2,
    readout_width=16,
    readout_near=(0.1, 0.2),
    euler_steps=5,
  )


@pytest.fixture(scope='session')
def demos(config):
  """240 frames of 24 episodes: both actions follow the images' brightness."""
  rng = np.random.default_rng(0)
  F, H, A = 240, config.horizon, config.action_dim
  level = rng.uniform(-1.0, 1.0, (F, A))
  ramp = np.arange(1, H + 1)[None, :, None] / H
  chunk = (level[:, None] * ramp).astype(np.float32)
  proprio = rng.normal(size=(F, config.proprio_dim)).astype(np.float32)
  pixels = rng.integers(0, 8, (A, F, 16, 16, 3))
  pixels = pixels + (120 + 100 * level.T)[..., None, None, None]
  frames = demos_lib.DemoBatch(
    images=dict(zip(config.cameras, pixels.astype(np.uint8), strict=True)),
    proprio=proprio,
    prompt=np.tile(np.array([3, 5, 0], np.int32), (F, 1)),
    chunk=chunk,
    chunk_valid=np.ones((F, H), bool),
    remaining_motion=0.1 * np.repeat(chunk[:, -1], 3, axis=1),
    episode=np.repeat(np.arange(24, dtype=np.int32), 10),
  )
  return demos_lib.Demos(
    frames=frames,
    action_mode='joint_delta',
    action_scale=(0.1, 0.2),
    joint_names=('turn', 'slide'),
    control_hz=10.0,
  )
