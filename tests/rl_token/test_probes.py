import numpy as np

from rlt_jax.rl_token import probes
from rlt_jax.rl_token.features import Features
from rlt_jax.vlas import demos as demos_lib


def test_the_remaining_motion_is_read_from_features_that_hold_it(demos):
  frames = demos.frames
  noise = np.random.default_rng(0).normal(size=(240, 4))
  found = Features(np.tile(frames.remaining_motion, (1, 2)), noise)
  fit, test = (
    probes.ProbeFrames(
      Features(*(x[rows] for x in found)),
      frames.proprio[rows],
      frames.remaining_motion[rows],
    )
    for rows in demos_lib.split_episodes(frames.episode, 0.2, 0)
  )
  out = probes.probe_motion(fit, test)
  assert out['probe_r2_tip_z_rl'] > 0.99 > 0.5 > out['probe_r2_tip_mean_token']
  assert out['probe_rmse_turn_z_rl'] < 0.1 * out['probe_rmse_turn_constant']
