"""Data types shared by all packages, and the legend of array shapes.

Dimension letters, used in every docstring of the project:

  B  batch rows              N  VLA tokens per observation
  E  environments            D  width of one VLA token
  C  action chunk steps      Z  width of the RL token
  H  reference chunk steps   P  proprioception entries
  A  action entries          L  prompt tokens
  Q  critics                 S  image side, pixels
  K  updates per dispatch    T  control steps

Packages exchange data only in these types. Importing this module loads neither
JAX nor a simulator, so that a robot's computer can use it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TYPE_CHECKING

if TYPE_CHECKING:
  import jax
  import numpy as np

  Array = jax.Array | np.ndarray
  PRNGKey = jax.Array
else:
  Array = PRNGKey = Any
Params = Any  # A pytree of arrays.

# The reference that a row stores for steps that a human drove. 'human': the
# human's commands, as in the paper (Alg. 1), so that beta pulls the actor
# toward them. 'vla': the VLA's chunk.
INTERVENTION_REFERENCES = ('human', 'vla')


class Observation(NamedTuple):
  """Inputs of a VLA; shapes for one observation, batches lead with [B].

  images: camera name -> uint8 [S, S, 3].
  proprio: [P] joint positions (rad; grippers m), then velocities (per s).
  prompt: int32 [L] tokenized instruction, 0 is padding.
  """

  images: Mapping[str, Array]
  proprio: Array
  prompt: Array


class Features(NamedTuple):
  """Inputs of the agent at a control step; shapes for one step.

  z_rl: [Z] RL token.
  proprio: [P] normalized proprioception.
  reference: [H, A] reference chunk, normalized relative to `pose`; in replay
    and in the agent the first C of the H steps, [C, A].
  pose: [A] measured joint positions, rad (grippers m).
  candidates: [N, H, A] chunks of the VLA at the same state, the first of them
    the reference; None unless the agent asks for them.
  """

  z_rl: Array
  proprio: Array
  reference: Array
  pose: Array
  candidates: Array | None = None

  def steps(self, start: int, stop: int | None) -> 'Features':
    """Returns them with steps `start` to `stop` of the VLA's chunks."""
    kept = None
    if self.candidates is not None:
      kept = self.candidates[..., start:stop, :]
    return self._replace(
      reference=self.reference[..., start:stop, :], candidates=kept
    )


class Segment(NamedTuple):
  """One executed chunk of C control steps of E environments; stride s.

  features: Features [E, C/s, ...] at steps 0, s, 2s, ...
  final: Features [E, ...] at the state after the last step, before any reset.
  command: [E, C, A] executed absolute commands, rad (grippers m).
  reward: [E, C].
  valid: bool [E, C], False after the end of the episode.
  terminated: bool [E], the episode ended within it by success or failure.
  truncated: bool [E], the time limit was reached at its end.
  source: int32 [E, C], the `Source` of each step's command.
  noise: [E, H, A] initial noise of the VLA's flow that the agent chose; None
    unless it does.
  """

  features: Features
  final: Features
  command: Array
  reward: Array
  valid: Array
  terminated: Array
  truncated: Array
  source: Array
  noise: Array | None = None


class Transition(NamedTuple):
  """One replay row: C actions executed from one decision point.

  Shapes are for one row; batched code adds a leading [B]. The row of Alg. 1
  is <x, a, a_ref, r, x'>; x' needs its own reference because the next action
  is conditioned on it.

  z_rl: [Z] RL token at the decision point.
  proprio: [P] normalized proprioception.
  ref_chunk: [C, A] first C of the H actions the VLA proposed there.
  action_chunk: [C, A] executed actions, normalized, re-based to this point;
    past the end of an episode the last command is held.
  reward: [] sum of gamma**i * r_i over the n steps before the episode's end.
  discount: [] gamma**n; 0 after success or failure, kept at a time limit.
  next_z_rl, next_proprio, next_ref_chunk: the same at the successor.
  source: int32 [], the `Source` of the executed actions.
  next_candidates: [N, C, A] `Features.candidates` at the successor, or None.
  noise: [H, A] as of `Segment`, or None.
  """

  z_rl: Array
  proprio: Array
  ref_chunk: Array
  action_chunk: Array
  reward: Array
  discount: Array
  next_z_rl: Array
  next_proprio: Array
  next_ref_chunk: Array
  source: Array
  next_candidates: Array | None = None
  noise: Array | None = None


class Source:
  """Source of the executed commands; MIXED if a row has more than one."""

  VLA = 0
  ACTOR = 1
  HUMAN = 2
  MIXED = 3


class Outcome:
  """How an episode ended, or that it runs; a task's failures are 2, 3, ...

  TIME_OUT truncates an episode; every other ending terminates it.
  """

  RUNNING = -1
  TIME_OUT = 0
  SUCCESS = 1
