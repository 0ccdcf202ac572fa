import jax
import numpy as np

from rlt_jax.rl_token import features, stats, train
from rlt_jax.rl_token.config import TokenConfig

_CONFIG = TokenConfig(
  token_dim=6, num_image_tokens=3, num_layers=1, num_heads=2, mlp_ratio=1
)


def test_parts_give_the_features_of_the_whole():
  tokens = np.random.default_rng(0).normal(size=(20, 3, 6)).astype(np.float32)
  mask = np.ones((20, 3), bool)
  mask[:7, 1] = False
  tokens[:7, 1] = np.nan
  measured = stats.measure_tokens(tokens, mask)
  state = train.init_state(jax.random.key(0), measured, config=_CONFIG)
  params = state.params | {'stats': measured}
  parts = [(tokens[i : i + 8], mask[i : i + 8]) for i in (0, 8, 16)]
  found = features.measure(params, parts, _CONFIG)
  whole = features.measure(params, [(tokens, mask)], _CONFIG)
  np.testing.assert_allclose(found.z_rl, whole.z_rl, atol=1e-5)
  mean = np.where(mask[..., None], tokens, 0).sum(1) / mask.sum(1)[:, None]
  np.testing.assert_allclose(found.mean_token, mean, rtol=1e-5, atol=1e-6)
  z_rl = features.encode_all(params, tokens, mask, _CONFIG)
  np.testing.assert_allclose(z_rl, whole.z_rl, atol=1e-5)
