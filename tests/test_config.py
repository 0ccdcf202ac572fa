import dataclasses
import json
import re

import pytest

from rlt_jax import config as config_lib
from rlt_jax.renamed import RENAMED
from rlt_jax.robot.station import Station
from rlt_jax.training.config import PracticeConfig, read_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
  rate: float = 0.5
  steps: int = 2
  chunk: int = 10
  horizon: int = 20

  def __post_init__(self):
    if self.chunk > self.horizon:
      raise ValueError(f'chunk must be <= horizon: {self.chunk}.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
  inner: Inner = Inner()
  name: str = 'a'
  on: bool = False
  limit: float | None = 1.0
  sizes: tuple[int, ...] = (256, 256)
  box: tuple[float, float] = (0.0, 1.0)


@pytest.mark.parametrize(
  'text, path, expected',
  [
    ('inner.rate=1e-3', 'inner.rate', 1e-3),
    ('inner.rate=2', 'inner.rate', 2.0),
    ('inner.steps=7', 'inner.steps', 7),
    ('name=b=c', 'name', 'b=c'),
    ('on=true', 'on', True),
    ('limit=none', 'limit', None),
    ('limit=3', 'limit', 3.0),
    ('sizes=64,32', 'sizes', (64, 32)),
    ('sizes=(64,)', 'sizes', (64,)),
    ('sizes=()', 'sizes', ()),
    ('box=[-1, 2.5]', 'box', (-1.0, 2.5)),
  ],
)
def test_override_reads_the_declared_type(text, path, expected):
  actual = config_lib.override(Outer(), [text])
  for name in path.split('.'):
    actual = getattr(actual, name)
  assert actual == expected and type(actual) is type(expected)


def test_differences_are_named_and_spelled_as_override_reads_them():
  before = Outer()
  after = config_lib.override(before, ['inner.rate=2', 'limit=none', 'sizes=1'])
  found = config_lib.differences(before, after)
  assert found == {
    'inner.rate': (0.5, 2.0), 'limit': (1.0, None), 'sizes': ((256, 256), (1,)),
  }  # fmt: skip
  again = [
    f'{path}={config_lib.spell(new)}' for path, (_, new) in found.items()
  ]
  assert config_lib.override(before, again) == after
  assert config_lib.spell(True) == 'true'


@pytest.mark.parametrize(
  'text, message',
  [
    ('inner.rat=1', r"Inner has no field 'rat'; .*'rate', 'steps'"),
    ('other=1', r"Outer has no field 'other'; .*'inner', 'name'"),
    ('inner.steps=1.5', r"inner.steps must be int: '1.5'"),
    ('inner.rate=nan', r"inner.rate must be finite: 'nan'"),
    ('inner.rate=none', r"inner.rate must be float: 'none'"),
    ('on=1', r"on must be bool: '1'"),
    ('sizes=1,x', r"sizes must be int: 'x'"),
    ('box=1', r"box must be tuple\[float, float\]: \('1',\)"),
    ('inner=3', r"inner must be set field by field .*'rate'.*: '3'"),
    ('name.first=3', r'Only a dataclass has fields to set: name is str'),
    ('name', r"must read 'field=value', .*: 'name'"),
    ('=3', r"must read 'field=value', .*: '=3'"),
  ],
)
def test_override_says_what_is_wrong(text, message):
  with pytest.raises(ValueError, match=message):
    config_lib.override(Outer(), [text])


@pytest.mark.parametrize(
  'text, hint',
  [
    ('num_env=4', "did you mean 'num_envs'?"),
    ('chunksize=4', "did you mean 'chunk_size'?"),
    ('robots=4', "it is now 'num_envs'"),
    ('stride=5', "it is now 'replay_stride'"),
    ('agent.sigma=0.1', "it is now 'agent.exploration_std'"),
    ('agent.hiden_dims=2', "did you mean 'agent.hidden_dims'?"),
    ('exploration_std=1', "did you mean 'agent.exploration_std'?"),
    ('sigma=1', "did you mean 'agent.exploration_std'?"),
  ],
)
def test_override_names_the_field_that_was_meant(text, hint):
  name = text.split('=')[0].split('.')[-1]
  message = rf"has no field '{name}'; {re.escape(hint)}.* it has \['"
  with pytest.raises(ValueError, match=message):
    config_lib.override(PracticeConfig(), [text])


@pytest.mark.parametrize(
  'path',
  [
    'update.batch', 'update.batch_size', 'update.critic_steps',
    'update.target_rate', 'update.beta',
  ],
)  # fmt: skip
def test_every_old_path_below_update_is_understood(path):
  """Whether or not the update has a config of its own."""
  try:
    config_lib.override(PracticeConfig(), [f'{path}=0.5'])
  except ValueError as error:
    assert 'has no field' not in str(error) or 'it is now' in str(error)


def test_every_old_name_leads_to_a_setting():
  known = {
    path.rpartition('.')[2] for path in config_lib._paths(PracticeConfig())
  }
  # Of a run on an arm, and of its station.
  other = {'num_base_episodes'} | {x.name for x in dataclasses.fields(Station)}
  assert set(RENAMED.values()) - other <= known
  assert not set(RENAMED) - {'update'} & known


def test_an_old_file_is_refused_by_the_new_names():
  plain = json.loads(config_lib.to_json(PracticeConfig()))
  plain['robots'] = plain.pop('num_envs')
  plain['film_pairs'] = plain.pop('num_eval_videos')
  message = "'film_pairs' is now 'num_eval_videos'; 'robots' is now 'num_envs';"
  with pytest.raises(ValueError, match=f'PracticeConfig has no .* {message}'):
    config_lib.from_json(PracticeConfig, json.dumps(plain))


def test_override_checks_a_dataclass_once_all_its_fields_are_in():
  actual = config_lib.override(
    Outer(), ['inner.chunk=30', 'inner.horizon=40', 'inner.steps=9']
  )
  assert actual.inner == Inner(chunk=30, horizon=40, steps=9)
  with pytest.raises(ValueError, match='chunk must be <= horizon: 30'):
    config_lib.override(Outer(), ['inner.chunk=30'])


def test_json_gives_the_same_config_back():
  config = Outer(inner=Inner(rate=0.1), limit=None, sizes=(1, 2, 3))
  assert config_lib.from_json(Outer, config_lib.to_json(config)) == config


@pytest.mark.parametrize(
  'edit, message',
  [
    (lambda d: d['inner'].update(rat=1), r"Inner has no field 'rat'"),
    (lambda d: d['inner'].pop('rate'), r"Inner must give every field.*'rate'"),
    (lambda d: d.update(on=1), r'Outer.on must be bool: 1'),
    (lambda d: d.update(inner=3), r'Outer.inner must be a Inner object: 3'),
    (lambda d: d.update(box=[1.0]), r'Outer.box must be tuple\[float, float\]'),
    (lambda d: d['inner'].update(steps=True), r'Outer.inner.steps must be int'),
  ],
)
def test_from_json_is_strict(edit, message):
  plain = json.loads(config_lib.to_json(Outer()))
  edit(plain)
  with pytest.raises(ValueError, match=message):
    config_lib.from_json(Outer, json.dumps(plain))


@dataclasses.dataclass(frozen=True)
class Later:
  """A config that gained a field after files of it had been written."""

  first: int = 1
  kind: str = dataclasses.field(default='new', metadata={'absent': 'old'})


def test_a_field_that_came_later_has_a_meaning_in_files_without_it():
  assert config_lib.from_json(Later, '{"first": 2}') == Later(2, 'old')
  assert json.loads(config_lib.to_json(Later(2, 'old'))) == {'first': 2}
  assert json.loads(config_lib.to_json(Later())) == {'first': 1, 'kind': 'new'}
  for config in (Later(), Later(kind='old')):
    assert config_lib.from_json(Later, config_lib.to_json(config)) == config


def test_a_run_from_before_the_simulators_engines_is_read():
  plain = json.loads(config_lib.to_json(PracticeConfig()))
  assert 'impl' not in plain['task']
  read = read_config(json.dumps(plain))
  assert read == PracticeConfig() and read.task.impl == 'jax'
  other = config_lib.override(PracticeConfig(), ['task.impl=warp'])
  again = read_config(config_lib.to_json(other))
  assert again.task.impl == 'warp'


def test_a_name_that_comes_twice_is_refused():
  text = config_lib.to_json(Inner())
  name = next(iter(json.loads(text)))
  twice = f'{{"{name}": 1, {text.lstrip()[1:]}'
  with pytest.raises(ValueError, match=f"must come once .*'{name}'"):
    config_lib.from_json(Inner, twice)
