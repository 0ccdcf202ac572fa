"""Tasks, agents and VLAs that a run must refuse."""

import dataclasses

from rlt_jax.agents.agent import Agent, AgentConfig, Sizes
from rlt_jax.tasks.ethernet import task as ethernet
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.task import Task, TaskConfig

NUMBER = 3


@dataclasses.dataclass(kw_only=True)
class Mutable:
  batch_size: int = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithoutDefault(AgentConfig):
  width: int


def agent_mutable(config: Mutable, sizes: Sizes) -> Agent:
  raise NotImplementedError


def agent_without_default(config: WithoutDefault, sizes: Sizes) -> Agent:
  raise NotImplementedError


def agent_without_sizes(config: AgentConfig) -> Agent:
  raise NotImplementedError


def agent_unknown_class(config: 'Nowhere', sizes: Sizes) -> Agent:  # noqa: F821
  raise NotImplementedError


def agent_none(config: AgentConfig, sizes: Sizes) -> None:
  return None


def task_with_more(config: TaskConfig, more: int) -> Task:
  raise NotImplementedError


def task_none(config: TaskConfig) -> None:
  return None


def _with_spec(**changes):
  def make(config: EthernetConfig) -> Task:
    task = ethernet.make(config)
    spec = dataclasses.replace(task.spec, **changes)
    return dataclasses.replace(task, spec=spec)

  return make


_SPEC = ethernet.make(EthernetConfig()).spec
task_joints = _with_spec(joint_names=_SPEC.joint_names[::-1])
task_cameras = _with_spec(cameras=('front', 'wrist_left', 'wrist_right'))
task_image_size = _with_spec(image_size=96)
task_instruction = _with_spec(instruction='insert ' * 50)
task_time_limit = _with_spec(time_limit=300)


def vla_with_two(first: str, second: str) -> None:
  raise NotImplementedError
