"""Probes of a token: what remains of a demonstration's motion."""

from typing import NamedTuple

import numpy as np

from rlt_jax.rl_token import diagnostics
from rlt_jax.rl_token.features import Features

_PARTS = (('tip', slice(0, 3)), ('turn', slice(3, 6)))


class ProbeFrames(NamedTuple):
  """Frames for a probe.

  features: of F frames. joints: [F, A] positions. remaining_motion: [F, 6] as
  in `DemoBatch`.
  """

  features: Features
  joints: np.ndarray
  remaining_motion: np.ndarray


def probe_motion(fit: ProbeFrames, test: ProbeFrames) -> dict[str, float]:
  """Scores how well features predict the remaining motion of a demonstration.

  Args:
    fit: frames to fit on.
    test: others, to test on.

  Returns:
    probe_r2_* (pooled over axes) and probe_rmse_* (an axis; m, rad) of ridge
    regression from z_rl, the mean image token and the joints.
  """
  results = {}
  for part, entries in _PARTS:
    target, truth = fit.remaining_motion[:, entries], test.remaining_motion
    truth = truth[:, entries]
    spread = np.square(truth - truth.mean(0)).mean(0).sum()
    for name in ('z_rl', 'mean_token', 'joints'):
      x, y = (
        frames.joints if name == 'joints' else getattr(frames.features, name)
        for frames in (fit, test)
      )
      error = np.square(diagnostics.linear_probe(x, target, y, truth)['rmse'])
      results[f'probe_r2_{part}_{name}'] = float(1.0 - error.sum() / spread)
      results[f'probe_rmse_{part}_{name}'] = float(np.sqrt(error.mean()))
    results[f'probe_rmse_{part}_constant'] = float(np.sqrt(spread / 3))
  return results
