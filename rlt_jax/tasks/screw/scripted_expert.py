"""The teleoperator of the screw task."""

from rlt_jax.tasks.insertion import person
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.screw import turning
from rlt_jax.tasks.screw.config import ScrewConfig
from rlt_jax.tasks.screw.expert_config import ExpertConfig
from rlt_jax.tasks.task import ScriptedExpert
from rlt_jax.types import Array


def make(
  scene: Scene,
  config: ExpertConfig | None = None,
  *,
  task_config: ScrewConfig,
) -> ScriptedExpert:
  """Builds the expert; instruction 1 is to lift the screwdriver away.

  Args:
    scene: of the task.
    config: the operator's settings.
    task_config: the task's settings.
  """

  def sunk(state: State) -> Array:
    return turning.sunk(task_config, state.driven)

  return person.make(scene, config or ExpertConfig(), sunk)
