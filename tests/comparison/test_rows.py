"""What the rows of the comparison are."""

import pytest

from rlt_jax.agents import registry
from rlt_jax.comparison import gates, rows
from rlt_jax.training.config import PracticeConfig


@pytest.mark.parametrize('name', rows.ROWS)
def test_every_row_has_settings_and_gates_that_exist(name):
  row = rows.ROWS[name]
  config = rows.make_config(row, 15)
  assert config.num_env_steps == 45_000
  assert config.agent_name == row.agent
  assert isinstance(config.agent, registry.config_class(row.agent))
  # No row is dropped from the buffer before the end.
  assert config.num_env_steps <= config.replay_capacity * config.replay_stride
  assert set(gates.names(row)) <= set(gates.GATES)


def test_rows_differ_only_in_what_they_declare():
  plain = rows.make_config(rows.ROWS['rlt'], 15)
  for row in rows.ROWS.values():
    config = rows.make_config(row, 15)
    for name in ('gamma', 'vla', 'task', 'eval_seed', 'vla_warmup_steps'):
      assert getattr(config, name) == getattr(plain, name), (row.name, name)
    declared = {text.partition('=')[0] for text in row.settings}
    for name in ('chunk_size', 'replay_stride', 'utd_ratio', 'token_ablation'):
      if name not in declared:
        assert getattr(config, name) == getattr(plain, name), (row.name, name)


def test_every_row_makes_about_as_many_updates_a_second():
  # A method with fewer updates for the same practice would look worse.
  for row in rows.ROWS.values():
    config = rows.make_config(row, 15)
    per_second = 50 / config.replay_stride * config.utd_ratio
    assert 120 <= per_second <= 150, (row.name, per_second)


def test_changes_hold_for_the_row_and_marks_end_before_the_run():
  config = rows.make_config(rows.ROWS['rlt'], 4, changes=['gamma=0.997'])
  assert config.gamma == 0.997
  assert config.marks() == (2, 2.5, 3, 4)
  config = rows.make_config(rows.ROWS['rlt'], 4, changes=['eval_at_minutes='])
  assert config.marks() == (4,)
  # Not the start states of development.
  assert config.eval_seed != PracticeConfig().eval_seed


@pytest.mark.parametrize(
  'change, message',
  [
    ('chunk_size=5', "'chunk_1' declares chunk_size"),
    ('seed=3', 'seed must be given as --seeds'),
    ('num_env_steps=3', 'num_env_steps must be given as --minutes'),
    ('agent.bta=3', "'chunk_1' cannot have these .*no field 'bta'"),
  ],
)
def test_changes_that_do_not_fit_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    rows.make_config(rows.ROWS['chunk_1'], 15, changes=[change])


@pytest.mark.parametrize(
  'names, message',
  [
    ([], 'one or more'),
    (['rlt', 'rlt'], 'none twice'),
    (['rtl'], "must be one of rlt, .*: 'rtl'"),
    (['resnet10'], "'resnet10' cannot run: it needs"),
  ],
)
def test_rows_that_are_not_there_are_refused(names, message):
  with pytest.raises(ValueError, match=message):
    rows.find(names)


def test_no_row_is_both_there_and_missing():
  assert not set(rows.ROWS) & set(rows.MISSING)
