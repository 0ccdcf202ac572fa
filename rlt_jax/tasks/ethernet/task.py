"""The Ethernet insertion task."""

from rlt_jax.sim import camera
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import scripted_expert, verdict
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion import task as insertion
from rlt_jax.tasks.task import Task, TaskSpec

INSERT = 'insert the ethernet plug into the socket'
LIFT = 'lift the plug away from the socket'
IMAGE_SIZE = 64

# The wrist cameras see only a small region around the tip, without the arms.
_NEAR = (
    'bench', 'pedestal', 'wall_', 'socket_', 'plug', 'tip_', 'right_finger',
    'left_finger', 'right_hand', 'left_hand',
)  # fmt: skip
_INSIDE_THE_WALLS = ('rim_',)
# The second number is rays per pixel side. A wrist pixel is about 1 mm wide;
# the mean of four rays shows smaller motions. The base view needs one ray.
CAMERAS = (
  camera.CameraSpec('base', 1, None, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_left', 2, _NEAR, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_right', 2, _NEAR, _INSIDE_THE_WALLS),
)


def make_spec(config: EthernetConfig | None = None) -> TaskSpec:
  """Returns the spec of the task; no simulator is built."""
  config = config or EthernetConfig()
  return insertion.make_spec(
    config,
    verdict.RULES,
    CAMERAS,
    image_size=IMAGE_SIZE,
    instruction=INSERT,
    other_instructions=(LIFT,),
  )


def make(config: EthernetConfig | None = None) -> Task:
  """Builds the task.

  Raises:
    ValueError: `config.impl` does not run here.
  """
  config = config or EthernetConfig()
  return insertion.make(
    config,
    scene_lib.load(config),
    verdict.RULES,
    make_spec(config),
    CAMERAS,
    make_expert=scripted_expert.make,
  )
