"""The teleoperator of the charger task."""

from rlt_jax.tasks.charger.expert_config import ExpertConfig
from rlt_jax.tasks.insertion import person
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.task import ScriptedExpert


def make(scene: Scene, config: ExpertConfig | None = None) -> ScriptedExpert:
  """Builds the expert of a scene; instruction 1 is to lift the plug away."""
  return person.make(scene, config or ExpertConfig())
