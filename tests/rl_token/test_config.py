import numpy as np
import pytest

from rlt_jax.rl_token.config import count_image_tokens, TokenConfig


def test_z_is_as_wide_as_a_vla_token_by_default():
  assert TokenConfig(token_dim=192, num_image_tokens=48).z_dim == 192
  assert TokenConfig(token_dim=192, num_image_tokens=48, width=64).z_dim == 64


@pytest.mark.parametrize(
  'field, value',
  [
    ('token_dim', 0),
    ('num_image_tokens', 0),
    ('width', 10),
    ('num_layers', 0),
    ('context_dropout', 1.5),
    ('full_context_share', -0.1),
    ('alpha', -1.0),
    ('learning_rate', 0.0),
    ('vla_clip_norm', 0.0),
    ('batch_size', 0),
    ('warmup_steps', 2_000),
  ],
)
def test_bad_values_are_refused_by_value(field, value):
  fields = {'token_dim': 8, 'num_image_tokens': 3, field: value}
  with pytest.raises(ValueError, match=str(value)):
    TokenConfig(**fields)


def test_image_tokens_are_counted_from_the_front():
  row = np.array([1, 1, 1, 0, 0], bool)
  assert count_image_tokens(row) == 3
  assert count_image_tokens(np.stack([row, row])) == 3


@pytest.mark.parametrize(
  'rows', [[[0, 1, 1]], [[1, 0, 1]], [[1, 1, 0], [1, 0, 0]], [[0, 0, 0]]]
)
def test_other_layouts_are_refused(rows):
  with pytest.raises(ValueError, match='must come first'):
    count_image_tokens(np.array(rows, bool))
