"""Which settings a resumed run has, and which it can change."""

import json

import pytest

from rlt_jax import config as config_lib
from rlt_jax.training import config as config_module
from rlt_jax.training import resumption

_SET = ('seed=3', 'agent.beta=0.01', 'num_env_steps=24000', 'eval_at_minutes=2')


@pytest.fixture
def workdir(tmp_path):
  """A run that stopped after 5 of its 8 robot minutes."""
  config = config_module.make_config(_SET, agent='rlt')
  (tmp_path / 'config.json').write_text(config_lib.to_json(config))
  (tmp_path / 'checkpoints' / '15000').mkdir(parents=True)
  evaluations = dict.fromkeys(('base', 'mean@2', 'mean@5'), {})
  (tmp_path / 'evaluations.json').write_text(json.dumps(evaluations))
  return tmp_path


def test_a_resumed_run_has_its_own_settings(workdir):
  config = resumption.resumed_config(workdir)
  assert (config.seed, config.agent.beta) == (3, 0.01)
  # The command that started it, with --resume, is accepted too.
  again = resumption.resumed_config(
    workdir, _SET, agent='rlt', task='ethernet', vla='pi_small'
  )
  assert again == config


def test_a_resumed_run_can_change_its_budget_and_what_is_measured(workdir):
  config = resumption.resumed_config(
    workdir,
    ['num_env_steps=45000', 'eval_at_minutes=2,5,10', 'num_eval_videos=0'],
    vla='ws://127.0.0.1:9',
  )
  assert (config.num_env_steps, config.num_eval_videos) == (45_000, 0)
  assert config.marks() == (2.0, 5.0, 10.0, 15.0)
  assert (config.agent.beta, config.vla) == (0.01, 'ws://127.0.0.1:9')


@pytest.mark.parametrize(
  'assignments, flags, message',
  [
    (['gamma=0.9'], {}, r'keeps gamma=0.99, and .* only vla, .*: gamma=0.9\.'),
    (['agent.beta=1'], {}, r'keeps agent.beta=0.01.*agent.beta=1.0\.'),
    (['task.time_limit=200'], {}, r'keeps task.time_limit=.*=200\.'),
    (['num_env_steps=9000'], {}, 'at least the 15000 control steps .*: 9000'),
    (['eval_at_minutes=2,4'], {}, 'after the 5 minutes .*: 4'),
    (['gama=0.9'], {}, "did you mean 'gamma'"),
    ([], {'agent': 'imitation'}, "keeps its agent, 'rlt': --agent=imitation"),
    ([], {'task': 'point'}, "keeps its task, 'ethernet': --task=point"),
  ],
)
def test_a_resumed_run_keeps_what_decided_its_past(
  workdir, assignments, flags, message
):
  with pytest.raises(ValueError, match=message):
    resumption.resumed_config(workdir, assignments, **flags)


def test_the_count_of_a_recorded_evaluation_stays(workdir):
  with pytest.raises(ValueError, match='must stay 100, .*evaluates more: 500'):
    resumption.resumed_config(workdir, ['num_final_episodes=500'])
  (workdir / 'evaluations.json').write_text('{}')
  config = resumption.resumed_config(workdir, ['num_final_episodes=500'])
  assert config.num_final_episodes == 500


def test_marks_beyond_the_end_are_left_out():
  config = config_module.make_config(['num_env_steps=24000'])
  assert config.marks() == (5.0, 8.0)
  assert config.marks_left_out() == (10.0,)
  at_end = config_module.make_config(['num_env_steps=30000'])
  assert at_end.marks() == (5.0, 10.0) and not at_end.marks_left_out()
