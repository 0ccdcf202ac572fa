"""Composes the two-arm bench with a task's parts into one MuJoCo scene.

A task's MJCF file has up to three frames, named by the place that they belong
to: `fixture`, on the bench, `right_tool` and `left_tool`, in the hands. The
arms' order, names and limits are those of `two_arm_bench`.
"""

from collections.abc import Iterable
import functools
import importlib.resources

import mujoco
import numpy as np

from rlt_jax.sim.kinematics import Chain
from rlt_jax.sim.two_arm_bench import to_joints

_PLACES = {
  'fixture': 'world',
  'right_tool': 'right_hand',
  'left_tool': 'left_hand',
}
_LINKS = ('yaw', 'upper', 'elbow', 'forearm', 'wrist', 'hand')
_PREFIX = 'attached/'
_DAMPING_RATIO = 1.0  # of a contact
_SOLIMP = (0.95, 0.99, 0.0005, 0.5, 2.0)
_FRICTION = (0.3, 0.3, 0.005, 0.0001, 0.0001)  # sliding, twisting, rolling
# m, between the fingertips, in the hand's frame.
GRASP = np.array([0.0, 0.0, -0.11])


def read_asset(package: str, name: str) -> mujoco.MjSpec:
  """Reads an MJCF file from a package's folder `assets`."""
  file = importlib.resources.files(package) / 'assets' / name
  return mujoco.MjSpec.from_string(file.read_text('utf-8'))


@functools.cache
def joint_limits() -> tuple[np.ndarray, np.ndarray]:
  """Returns the lowest and highest joints float32 [A], rad and m.

  They are read from the arms' file alone, without a task's scene.
  """
  model = read_asset('rlt_jax.sim', 'two_arms.xml').compile()
  low, high = (to_joints(x).astype(np.float32) for x in model.jnt_range.T)
  return low, high


def compose(
  parts: mujoco.MjSpec,
  *,
  name: str,
  timestep: float,
  solver_iterations: int,
) -> mujoco.MjSpec:
  """Returns the bench with the arms and a task's parts, not yet compiled.

  Args:
    parts: the task's file; its frames are used up.
    name: of the model.
    timestep: s, of the physics.
    solver_iterations: Newton iterations of a physics step, at most.

  Raises:
    ValueError: the file has none of the frames.
  """
  spec = read_asset('rlt_jax.sim', 'bench.xml')
  spec.modelname = name
  spec.option.timestep = timestep
  spec.option.iterations = solver_iterations
  frames = {place: parts.frame(place) for place in _PLACES}
  if not any(frames.values()):
    raise ValueError(
      f"A task's MJCF file must have a frame of {list(_PLACES)}: none."
    )
  arms = read_asset('rlt_jax.sim', 'two_arms.xml').frame('arms')
  # The fixture comes first, so that its body ids do not depend on the arms.
  for place, frame in (('fixture', frames.pop('fixture')), ('arms', arms),
                       *frames.items()):  # fmt: skip
    if frame is not None:
      _attach(spec, _PLACES.get(place, 'world'), frame)
  return spec


def _attach(spec: mujoco.MjSpec, body: str, frame: mujoco.MjsFrame) -> None:
  """Attaches a frame to a body under the names that it has in its own file."""
  parent = spec.worldbody if body == 'world' else spec.body(body)
  # MuJoCo warns about an empty prefix, also into a file.
  parent.attach_frame(frame, _PREFIX, '')
  for kind in (spec.bodies, spec.joints, spec.geoms, spec.cameras,
               spec.sites, spec.actuators):  # fmt: skip
    for element in kind:
      element.name = element.name.removeprefix(_PREFIX)
  for actuator in spec.actuators:
    actuator.target = actuator.target.removeprefix(_PREFIX)


def add_contacts(
  spec: mujoco.MjSpec,
  pairs: Iterable[tuple[str, str]],
  *,
  time_constant: float,
) -> None:
  """Adds contacts between geoms; no other geoms touch.

  Args:
    spec: a scene.
    pairs: names of two geoms each.
    time_constant: s, of the critically damped spring that a contact is.
  """
  for first, second in pairs:
    spec.add_pair(
      geomname1=first,
      geomname2=second,
      condim=3,
      solref=[time_constant, _DAMPING_RATIO],
      solimp=list(_SOLIMP),
      friction=list(_FRICTION),
    )


def arm_chain(
  model: mujoco.MjModel,
  side: str,
  *,
  grasp: np.ndarray = GRASP,
  tool_length: float = 0.0,
) -> Chain:
  """Reads an arm's chain from a compiled scene.

  Args:
    model: the scene.
    side: of `two_arm_bench.SIDES`.
    grasp: [3] m, the tool's nominal origin in the hand's frame.
    tool_length: m, from there to the tool's tip.
  """
  base = model.body(f'{side}_base')
  mat = np.zeros(9)
  mujoco.mju_quat2Mat(mat, base.quat)
  return Chain(
    base_pos=np.array(base.pos),
    base_mat=mat.reshape(3, 3),
    offsets=np.stack([model.body(f'{side}_{n}').pos for n in _LINKS]),
    axes=np.stack([model.joint(f'{side}_j{i}').axis for i in range(1, 7)]),
    grasp=np.array(grasp),
    tool_length=tool_length,
  )
