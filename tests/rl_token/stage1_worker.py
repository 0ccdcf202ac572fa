"""Runs in a process of its own: Stage 1 on one device and on four.

python -m tests.rl_token.stage1_worker
"""

import jax
import numpy as np

from rlt_jax.rl_token import stage1, train
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.vlas.demos import DemoBatch, Demos
from tests.vlas import toy_vla

_EPISODES, _FRAMES = 8, 6


def make_demos(vla):
  """Returns noise that the VLA can read."""
  spec, rng = vla.spec, np.random.default_rng(0)
  rows = _EPISODES * _FRAMES
  return Demos(
    frames=DemoBatch(
      images={
        name: rng.integers(0, 255, (rows, 64, 64, 3), np.uint8)
        for name in spec.cameras
      },
      proprio=rng.normal(size=(rows, spec.proprio_dim)).astype(np.float32),
      prompt=np.tile(vla.tokenize('insert'), (rows, 1)),
      chunk=np.zeros((rows, spec.horizon, spec.action_dim), np.float32),
      chunk_valid=np.ones((rows, spec.horizon), bool),
      remaining_motion=rng.normal(size=(rows, 6)).astype(np.float32),
      episode=np.repeat(np.arange(_EPISODES, dtype=np.int32), _FRAMES),
    ),
    action_mode=spec.action_mode,
    action_scale=spec.action_scale,
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
  )


def run(devices):
  """Returns the training, and how many devices held the tokens of a batch."""
  vla = toy_vla.make('8')
  config = Stage1Config(
    episodes=_EPISODES,
    steps=2,
    batch_size=16,
    num_layers=1,
    accumulate=2,
    cache='none',
    devices=devices,
  )
  prepared = stage1.prepare(vla, make_demos(vla), config)
  batch = next(prepared.data.batches(0))
  trained = train.train_token(
    jax.random.key(0),
    prepared.data,
    prepared.token_config,
    step=config.step,
    mesh=prepared.mesh,
  )
  return trained, len(batch.data.sharding.device_set)


def main():
  assert len(jax.devices()) == 4
  (one, on_one), (four, on_four) = run(1), run(4)
  assert (on_one, on_four) == (1, 4), (on_one, on_four)
  assert len(one.history) == len(four.history) == 2
  for a, b in zip(one.history, four.history, strict=True):
    for name, value in a.items():
      np.testing.assert_allclose(b[name], value, rtol=1e-4, err_msg=name)
  for a, b in zip(
    jax.tree.leaves(one.params), jax.tree.leaves(four.params), strict=True
  ):
    # Adam's first steps have the size of the rate, whatever the gradient's is.
    np.testing.assert_allclose(b, a, rtol=1e-3, atol=3e-3)
  np.testing.assert_allclose(
    four.params['stats']['token_std'],
    one.params['stats']['token_std'],
    rtol=1e-5,
  )


if __name__ == '__main__':
  main()
