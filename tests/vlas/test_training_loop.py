import numpy as np

from rlt_jax.vlas import training_loop


def test_rate_warms_up_and_ends_low():
  config = training_loop.LoopConfig(learning_rate=1.0, warmup_steps=3)
  rates = [training_loop.learning_rate(step, 0.0, config) for step in range(5)]
  np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1.0, 1.0])
  np.testing.assert_allclose(training_loop.learning_rate(9, 0.5, config), 0.51)
  np.testing.assert_allclose(training_loop.learning_rate(9, 1.0, config), 0.02)
