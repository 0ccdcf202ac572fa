"""What `tasks.load` refuses of a task of one's own."""

import dataclasses
import importlib
from typing import ClassVar

import pytest

from rlt_jax import plugins, tasks
from rlt_jax.tasks.charger.config import ChargerConfig
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.screw.config import ScrewConfig
from rlt_jax.tasks.task import Task, TaskConfig
from tests.envs import point_task

_MODULE = 'tests.tasks.test_loading'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlowConfig(TaskConfig):
  control_hz: ClassVar[float] = 20.0


def make_slow(config: SlowConfig) -> Task:
  task = point_task.make(config)
  spec = dataclasses.replace(task.spec, control_hz=config.control_hz)
  return dataclasses.replace(task, spec=spec)


def make_slow_without_config() -> Task:
  return make_slow(SlowConfig())


def test_a_task_has_the_control_rate_of_its_settings():
  name = f'{_MODULE}:make_slow'
  config = tasks.config_class(name)()
  assert tasks.load(name, config).spec.control_hz == config.control_hz == 20.0


def test_a_control_rate_that_is_not_that_of_the_settings_is_refused():
  with pytest.raises(ValueError, match='spec.control_hz must be .* 50: 20'):
    tasks.load(f'{_MODULE}:make_slow_without_config')


@pytest.mark.parametrize('name', tasks.SHIPPED)
def test_a_spec_is_that_of_the_task(name):
  assert tasks.load_spec(name) == tasks.load(name).spec
  with pytest.raises(ValueError, match=f'{name}.* must be a .*: SlowConfig'):
    tasks.load_spec(name, SlowConfig())


def test_the_spec_of_a_task_of_ones_own_is_that_of_the_built_task():
  name = f'{_MODULE}:make_slow'
  assert tasks.load_spec(name, SlowConfig()).control_hz == 20.0


def test_a_spec_is_of_a_level_that_the_task_has():
  for cls, name in (
    (EthernetConfig, 'ethernet'),
    (ChargerConfig, 'charger'),
    (ScrewConfig, 'screw'),
  ):
    with pytest.raises(ValueError, match='clearance_mm must be one of'):
      tasks.load_spec(name, cls(clearance_mm=0.123))


def test_the_settings_of_an_expert_are_those_that_it_takes():
  for name in tasks.SHIPPED:
    cls = tasks.expert_config_class(name, lambda: pytest.fail('built'))
    module = importlib.import_module(f'rlt_jax.tasks.{name}.scripted_expert')
    assert cls is plugins.config_class(module.make, 'An expert')
  own = tasks.expert_config_class('tests.demonstrations.point_demo_task:make')
  assert 'speed' in {field.name for field in dataclasses.fields(own)}
  assert tasks.expert_config_class('tests.envs.point_task:make') is None
