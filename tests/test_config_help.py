"""The list of settings in --help."""

import dataclasses

import pytest

from rlt_jax import config_help, tasks
from rlt_jax.agents import registry
from rlt_jax.training.config import PracticeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Below:
  rate: float = 0.5  # Hz


@dataclasses.dataclass(frozen=True, kw_only=True)
class Above:
  # Not about the field: a blank line follows.

  first: int = 1
  # In steps.
  # At most ten.
  second: tuple[int, ...] = (1, 2)  # besides 0
  third: float | None = None  # s
  below: Below = Below()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived(Above):
  first: int = 3  # other default


def test_each_setting_has_its_default_and_the_comment_of_its_class():
  found = list(config_help.settings(Above(below=Below(rate=0.25)), 'a.'))
  assert found == [
    ('a.first', '1', ''),
    ('a.second', '1,2', 'In steps. At most ten. besides 0'),
    ('a.third', 'none', 's'),
    ('a.below.rate', '0.25', 'Hz'),
  ]
  assert config_help.comments(Derived)['first'] == 'other default'
  assert config_help.comments(Derived)['third'] == 's'


def test_a_class_without_a_file_has_no_comments():
  made = dataclasses.make_dataclass('Made', [('x', int, 1)], frozen=True)
  assert list(config_help.settings(made())) == [('x', '1', '')]


@pytest.mark.parametrize(
  'cls',
  [
    PracticeConfig,
    *map(registry.config_class, registry.SHIPPED),
    *map(tasks.config_class, tasks.SHIPPED),
  ],
)
def test_every_setting_is_explained(cls):
  notes = config_help.comments(cls)
  bare = {f.name for f in dataclasses.fields(cls) if not notes.get(f.name)}
  assert not bare
