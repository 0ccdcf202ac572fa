"""Returns, advantages and marks by hand."""

import numpy as np
import pytest

from rlt_jax.finetuning.recap import marks
from rlt_jax.finetuning.recap.config import RecapConfig
from rlt_jax.finetuning.recap.marks import Frames

# A success of 20 steps and a failure of 15, a frame every 5 steps.
_FRAMES = Frames(
  episode=np.array([0, 0, 0, 0, 1, 1, 1]),
  steps_left=np.array([20, 15, 10, 5, 15, 10, 5]),
  succeeded=np.array([True] * 4 + [False] * 3),
  human=np.array([False, False, True, False, False, False, False]),
)
_LIMIT = 100


def test_returns_are_those_of_success_and_failure():
  np.testing.assert_allclose(
    marks.returns(_FRAMES, _LIMIT),
    # -20 / 200, ..., and -(15 + 100) / 200, ...
    [-0.1, -0.075, -0.05, -0.025, -0.575, -0.55, -0.525],
  )
  worst = _FRAMES._replace(steps_left=np.full(7, _LIMIT))
  found = marks.returns(worst, _LIMIT)
  np.testing.assert_allclose(found, [-0.5] * 4 + [-1.0] * 3)


def test_advantages_look_ahead_and_end_with_the_episode():
  values = np.array([-0.2, -0.1, -0.3, -0.05, -0.4, -0.5, -0.6])
  found = marks.advantages(
    _FRAMES, values, time_limit=_LIMIT, ahead=10, stride=5
  )
  # Ten steps cost 10 / 200. The third frame's successor is past the end of its
  # episode, so the return counts; the next episode is never looked at.
  np.testing.assert_allclose(
    found,
    [
      -0.05 - 0.3 + 0.2,
      -0.05 - 0.05 + 0.1,
      -0.05 + 0.3,
      -0.025 + 0.05,
      -0.05 - 0.6 + 0.4,
      -0.55 + 0.5,
      -0.525 + 0.6,
    ],
    atol=1e-9,
  )


def test_a_person_is_always_good_and_others_by_their_share():
  advantage = np.array([6.0, 5.0, -9.0, 4.0, 3.0, 2.0, 1.0])
  # Of six frames of the VLA two are the best third.
  found = marks.choose_positive(_FRAMES, advantage, 1 / 3)
  np.testing.assert_array_equal(found, [1, 1, 1, 0, 0, 0, 0])
  all_human = _FRAMES._replace(human=np.ones(7, bool))
  assert marks.choose_positive(all_human, advantage, 0.1).all()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'lookahead': 12}, 'lookahead must be a multiple of stride 5: 12'),
    ({'bins': 1}, 'bins must be at least 2: 1'),
    ({'positive_share': 1.0}, r'positive_share must lie in \(0, 1\): 1.0'),
    ({'unmarked_share': 1.0}, r'unmarked_share must lie in \[0, 1\): 1.0'),
    ({'value_steps': 0}, 'value_steps must be at least 1: 0'),
  ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    RecapConfig(**changes)
