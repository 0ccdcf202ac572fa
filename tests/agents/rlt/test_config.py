"""Bad hyper-parameters are refused."""

import re

import pytest

from rlt_jax.agents.rlt import RltConfig


@pytest.mark.parametrize(
  'field, value',
  [
    ('beta', -1.0),
    ('reference_dropout', 1.0),
    ('batch_size', 0),
    ('critic_updates_per_actor', 0),
    ('cycles_per_dispatch', 0),
    ('actor_lr', 0.0),
    ('critic_lr', -1.0),
    ('tau', 0.0),
    ('target_clip', (1.0, 0.0)),
  ],
)
def test_bad_value_is_refused(field, value):
  with pytest.raises(ValueError, match=re.escape(f': {value}.')) as error:
    RltConfig(**{field: value})
  assert str(error.value).startswith(field)
