"""The insertion task: scene, physics, cameras, action space, teacher."""

from rlt_jax.sim.action import ActionSpace
from rlt_jax.sim.camera import make as make_cameras
from rlt_jax.sim.config import TaskConfig
from rlt_jax.sim.environment import InsertionEnvironment
from rlt_jax.sim.insertion import (
  CONTROL_HZ,
  jit,
  Outcome,
  State,
  Task,
)
from rlt_jax.sim.insertion import (
  make as make_task,
)
from rlt_jax.sim.teacher import make as make_teacher
from rlt_jax.sim.teacher import TeacherConfig
from rlt_jax.sim.worlds import over_worlds

__all__ = [
  'ActionSpace',
  'CONTROL_HZ',
  'InsertionEnvironment',
  'Outcome',
  'State',
  'Task',
  'TaskConfig',
  'TeacherConfig',
  'jit',
  'make_cameras',
  'make_task',
  'make_teacher',
  'over_worlds',
]
