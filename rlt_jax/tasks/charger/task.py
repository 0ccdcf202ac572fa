"""The charger task: a plug with two prongs into two slots."""

from rlt_jax.sim import camera
from rlt_jax.tasks.charger import scene as scene_lib
from rlt_jax.tasks.charger import scripted_expert, verdict
from rlt_jax.tasks.charger.config import ChargerConfig
from rlt_jax.tasks.insertion import task as insertion
from rlt_jax.tasks.task import Task, TaskSpec

INSERT = 'plug the charger into the outlet'
PHRASINGS = (
  'plug in the charger',
  'push the charger into the outlet',
  'insert the two prongs of the charger into the slots',
  'connect the charger to the power outlet',
)
LIFT = 'lift the charger away from the outlet'
IMAGE_SIZE = 64

# The wrist cameras see only a small region around the tip, without the arms.
_NEAR = (
    'bench', 'pedestal', 'wall_', 'socket_', 'plug', 'prong_', 'tip_',
    'right_finger', 'left_finger', 'right_hand', 'left_hand',
)  # fmt: skip
_INSIDE_THE_WALLS = ('rim_',)
# The second number is rays per pixel side; a slot is two pixels wide.
CAMERAS = (
  camera.CameraSpec('base', 1, None, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_left', 2, _NEAR, _INSIDE_THE_WALLS),
  camera.CameraSpec('wrist_right', 2, _NEAR, _INSIDE_THE_WALLS),
)


def make_spec(config: ChargerConfig | None = None) -> TaskSpec:
  """Returns the spec of the task; no simulator is built."""
  config = config or ChargerConfig()
  return insertion.make_spec(
    config,
    verdict.RULES,
    CAMERAS,
    image_size=IMAGE_SIZE,
    instruction=INSERT,
    phrasings=PHRASINGS,
    other_instructions=(LIFT,),
  )


def make(config: ChargerConfig | None = None) -> Task:
  """Builds the task.

  Raises:
    ValueError: `config.impl` does not run here.
  """
  config = config or ChargerConfig()
  return insertion.make(
    config,
    scene_lib.load(config),
    verdict.RULES,
    make_spec(config),
    CAMERAS,
    make_expert=scripted_expert.make,
  )
