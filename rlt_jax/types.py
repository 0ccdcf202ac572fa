"""Rows and contracts shared by every package, and the one shape legend.

Dimension letters, used in every docstring of the project:

  B  batch rows              N  VLA tokens per observation
  E  robots side by side     D  width of one VLA token
  C  action chunk steps      Z  width of the RL token
  H  reference chunk steps   P  proprioception entries
  A  action entries          L  prompt tokens
  Q  critics                 S  image side, pixels
  K  updates per dispatch    T  control steps

Packages meet only through the records below: none needs another's insides.
Importing this module loads neither JAX nor a simulator, so the robot's
computer shares it.
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


class Observation(NamedTuple):
  """What a policy may see; shapes for one observation, batches lead with [B].

  images: camera name -> uint8 [S, S, 3].
  proprio: [P] joint positions (rad; grippers m), then velocities (per s).
  prompt: int32 [L] tokenized instruction, 0 is padding.
  """

  images: Mapping[str, Array]
  proprio: Array
  prompt: Array


class Features(NamedTuple):
  """What the agent sees at a control step; shapes for one step.

  z_rl: [Z] RL token.
  proprio: [P] normalized proprioception.
  reference: [H, A] reference chunk, normalized relative to `pose`; as far as
    replay and the agent are concerned the first C of the H steps, [C, A].
  pose: [A] measured joint positions, rad (grippers m).
  """

  z_rl: Array
  proprio: Array
  reference: Array
  pose: Array


class Segment(NamedTuple):
  """One executed chunk of C control steps of E robots; s is the stride.

  features: Features [E, C/s, ...] at steps 0, s, 2s, ...
  final: Features [E, ...] at the state after the last step, before any reset.
  command: [E, C, A] executed absolute commands, rad (grippers m).
  reward: [E, C].
  valid: bool [E, C], False after the end of the episode.
  terminated: bool [E], success or failure came within this segment.
  truncated: bool [E], the time limit came at the end of this segment.
  source: int32 [E, C], who drove each step; see `Source`.
  """

  features: Features
  final: Features
  command: Array
  reward: Array
  valid: Array
  terminated: Array
  truncated: Array
  source: Array


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
  source: int32 [] who drove: see `Source`.
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


class Source:
  """Who drove a row's steps; MIXED when a boundary lies inside it."""

  VLA = 0
  ACTOR = 1
  HUMAN = 2
  MIXED = 3


class Outcome:
  """How an episode stands or ended; a task's own failures count from 2.

  TIME_OUT truncates an episode; every other ending terminates it.
  """

  RUNNING = -1
  TIME_OUT = 0
  SUCCESS = 1
