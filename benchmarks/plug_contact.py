"""A straight plug pressed on the Ethernet socket, for `ethernet_contact`."""

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sim import kinematics
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet import task as task_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig, EthernetOutcome

_PERIOD = 1.0 / EthernetConfig.control_hz
_FLOOR = (0.0, 0.0, -scene_lib.SOCKET_DEPTH)  # m, from the mouth
_FACE = (0.005, 0.0, 0.0)
_FURTHEST = 0.006  # m ahead: the limit on commands shortens it if it is less


class _Plug:
  """A straight plug over a straight socket, commanded by its tip."""

  def __init__(self, timestep: float, time_constant: float):
    straight = dict.fromkeys(
      ('socket_shift_mm', 'socket_turn_deg', 'grasp_shift_mm', 'grasp_turn_deg',
       'start_shift_mm', 'start_turn_deg'), 0.0,
    )  # fmt: skip
    self._substeps = round(_PERIOD / timestep)
    config = EthernetConfig(
      timestep=timestep,
      substeps=self._substeps,
      contact_time_constant=time_constant,
      solver_iterations=100,
      **straight,
    )
    task = task_lib.make(config)
    chain = scene_lib.load(config).right
    state = task.compile(task.reset)(jax.random.PRNGKey(0))
    self.start = jax.tree.map(np.asarray, state)
    self.bench = task.make_bench()
    self.tip = jax.jit(
      lambda arm: kinematics.tip_pose(
        chain, arm, state.grasp_pos, state.grasp_rot
      )[0]
    )
    self._solve = jax.jit(
      lambda arm, position: kinematics.solve_tip(
        chain, arm, state.grasp_pos, state.grasp_rot, position,
        jnp.asarray(chain.base_mat), iterations=4,
      )
    )  # fmt: skip

  def arm(self) -> np.ndarray:
    """Returns the measured right arm [6], rad."""
    return np.float32(self.bench.positions()[:6])

  def move(self, position: np.ndarray) -> float:
    """Commands the tip [3], m; returns the control step's largest force, N."""
    # Success or a high force would end the episode.
    self.bench.place(
      jax.tree.map(lambda x: x[0], self.bench.world()).replace(
        outcome=np.int32(EthernetOutcome.RUNNING)
      )
    )
    targets = np.zeros(14)
    targets[:6] = self._solve(self.arm(), np.float32(position))
    self.bench.set_targets(targets)
    for _ in range(self._substeps):
      self.bench.step()
    return float(self.bench.world().force[0])

  def press(self, place: tuple[float, ...]) -> tuple[float, float]:
    """Presses on a place until at rest; returns force, N, and overlap, m."""
    self.bench.place(self.start)
    goal = self.start.socket_pos + np.array(place)
    above = goal + np.array([0.0, 0.0, 0.022])
    for share in (*np.linspace(0.0, 1.0, 80), *np.ones(60)):
      deep = goal - np.array([0.0, 0.0, _FURTHEST])
      force = self.move(above + share * (deep - above))
    return force, self.bench.overlap()

  def blow(self) -> float:
    """Drives the tip onto the face; returns the largest force, N."""
    self.bench.place(self.start)
    face = self.start.socket_pos + np.array(_FACE)
    force = 0.0
    for k in range(60):
      height = 0.01 if k < 15 else -0.013  # first above the face
      tip = np.asarray(self.tip(self.arm()))
      gap = face + np.array([0.0, 0.0, height]) - tip
      gap *= min(1.0, _FURTHEST / np.linalg.norm(gap))
      force = max(force, self.move(tip + gap))
    return force


def measure(timestep: float, time_constant: float) -> dict[str, float]:
  """Returns the figures of one physics; forces in N, stiffness in N/mm."""
  plug = _Plug(timestep, time_constant)
  row = {'timestep_s': timestep, 'contact_time_constant_s': time_constant}
  for name, place in (('floor', _FLOOR), ('face', _FACE)):
    force, overlap = plug.press(place)
    row[f'{name}_force_n'] = round(force, 1)
    row[f'{name}_n_per_mm'] = round(1e-3 * force / overlap)
  row['blow_n'] = round(plug.blow(), 1)
  return row
