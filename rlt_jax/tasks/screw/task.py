"""The screw task: a held screwdriver drives a screw home."""

import functools

from rlt_jax.sim import camera
from rlt_jax.tasks.insertion import task as insertion
from rlt_jax.tasks.screw import scene as scene_lib
from rlt_jax.tasks.screw import scripted_expert, verdict
from rlt_jax.tasks.screw.config import ScrewConfig
from rlt_jax.tasks.task import Task, TaskSpec

DRIVE = 'drive the screw home with the screwdriver'
PHRASINGS = (
  'screw in the screw',
  'tighten the screw',
  'put the screwdriver into the screw and drive it in',
  'use the screwdriver to fasten the screw',
)
LIFT = 'lift the screwdriver away from the screw'
IMAGE_SIZE = 64

# The wrist cameras see only a small region around the bit, without the arms.
_NEAR = (
    'bench', 'plate', 'head_', 'socket_', 'driver_', 'bit_view', 'right_finger',
    'left_finger', 'right_hand', 'left_hand',
)  # fmt: skip
# What touches; what is seen of it turns with the screw.
_CONTACTS = ('rim_', 'wall_', 'socket_floor', 'tip_', 'bit_hit')
CAMERAS = (
  camera.CameraSpec('base', 1, None, _CONTACTS),
  camera.CameraSpec('wrist_left', 2, _NEAR, _CONTACTS),
  camera.CameraSpec('wrist_right', 2, _NEAR, _CONTACTS),
)


def make_spec(config: ScrewConfig | None = None) -> TaskSpec:
  """Returns the spec of the task; no simulator is built."""
  config = config or ScrewConfig()
  return insertion.make_spec(
    config,
    verdict.RULES,
    CAMERAS,
    image_size=IMAGE_SIZE,
    instruction=DRIVE,
    phrasings=PHRASINGS,
    other_instructions=(LIFT,),
  )


def make(config: ScrewConfig | None = None) -> Task:
  """Builds the task.

  Raises:
    ValueError: `config.impl` does not run here.
  """
  config = config or ScrewConfig()
  return insertion.make(
    config,
    scene_lib.load(config),
    verdict.RULES,
    make_spec(config),
    CAMERAS,
    make_expert=functools.partial(scripted_expert.make, task_config=config),
  )
