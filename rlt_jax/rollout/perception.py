"""Computes the features that actor and critic read from the simulator's state.

Images and proprioception go through the frozen VLA and the frozen token
encoder, in this process or on a server. The agent reads only `z_rl`,
proprioception and the reference chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rollout import reference_faults, token_ablations
from rlt_jax.serving.embedder import Embedder
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import Array, Features, PRNGKey


class Perception(NamedTuple):
  """Functions and sizes of the agent's features; built by `make`.

  perceive: (State [B], key, prompt=None) -> Features [B]. The key is consumed;
    a prompt, a text, replaces the task's own instruction.
  perceive_each: (State [S * B], keys [S]) -> Features [S * B]; as `perceive`
    for each group of B worlds with its key, in one call.
  space: the action space of references and actions.
  sample: (State [B], noise [B, N, H, A], prompt=None) -> the VLA's chunks
    [B, N, H, A] for given initial noise.
  """

  perceive: Callable[..., Features]
  perceive_each: Callable[[State, PRNGKey], Features]
  space: ActionSpace
  z_dim: int
  proprio_dim: int
  action_dim: int
  horizon: int = 0
  sample: Callable[..., Array] | None = None


def make(
  *,
  task: Task,
  embedder: Embedder,
  token_ablation: str = 'none',
  reference_fault: str = 'none',
  num_candidates: int = 0,
) -> Perception:
  """Builds the perception of one task.

  Args:
    task: its cameras, proprioception and instruction.
    embedder: the frozen VLA and its token; it fits the task.
    token_ablation: replacement of the token, see `token_ablations.make`.
    reference_fault: of the VLA's chunks, see `reference_faults.make`.
    num_candidates: N of `Features.candidates`; 0 for None.

  Raises:
    ValueError: an ablation, a fault or a VLA that does not fit the task.
  """
  _check_rates(task, embedder)
  spec = embedder.spec
  ablate = token_ablations.make(
    token_ablation, task, spec.z_dim, spec.proprio_dim
  )
  space = ActionSpace(np.float32(spec.action_scale), spec.action_mode)
  spoil = reference_faults.make(reference_fault, task, space)

  def features(embed, state, keys, prompt):
    images, measured, pose, joints = _look(task, embedder, state)
    z_rl, proprio, reference = embed(images, measured, prompt, keys, **joints)
    z_rl = ablate(state, z_rl, proprio)
    chunks = reference[:, None]
    if num_candidates:
      noise = _draw_noise(keys, len(measured), num_candidates - 1, spec)
      more = embedder.sample(images, measured, prompt, noise, **joints)
      chunks = jnp.concatenate([chunks, more], axis=1)
    chunks = spoil(state, chunks, keys)
    candidates = chunks if num_candidates else None
    return Features(z_rl, proprio, chunks[:, 0], pose, candidates)

  def sample(state: State, noise: Array, prompt: str | None = None) -> Array:
    prompt = task.spec.instruction if prompt is None else prompt
    if reference_fault == 'noise':
      raise ValueError(
        "reference_fault 'noise' needs an agent that does not choose the noise "
        'of the VLA.'
      )
    images, measured, _, joints = _look(task, embedder, state)
    chunks = embedder.sample(images, measured, prompt, noise, **joints)
    return spoil(state, chunks, None)

  def perceive(
    state: State, key: PRNGKey, prompt: str | None = None
  ) -> Features:
    prompt = task.spec.instruction if prompt is None else prompt
    return features(embedder.embed, state, key, prompt)

  def perceive_each(state: State, keys: PRNGKey) -> Features:
    return features(embedder.embed_each, state, keys, task.spec.instruction)

  return Perception(
    perceive=perceive,
    perceive_each=perceive_each,
    space=space,
    z_dim=spec.z_dim,
    proprio_dim=spec.proprio_dim,
    action_dim=spec.action_dim,
    horizon=spec.horizon,
    sample=sample,
  )


def _check_rates(task: Task, embedder: Embedder) -> None:
  if embedder.takes_joints and task.joint_rates is None:
    raise ValueError(
      'The VLA reads positions and rates of the joints, so the task must '
      f'measure both: {task.spec.name} has no joint_rates.'
    )


def _look(
  task: Task, embedder: Embedder, state: State
) -> tuple[dict[str, Array], Array, Array, dict[str, Array]]:
  """Returns images, proprioception, pose, and what else the VLA reads."""
  pose = task.joint_positions(state)
  joints = {}
  if embedder.takes_joints:
    joints['joints'] = jnp.concatenate([pose, task.joint_rates(state)], axis=-1)
  return task.render(state), task.proprio(state), pose, joints


def _draw_noise(keys: PRNGKey, rows: int, draws: int, spec: Any) -> Array:
  """Returns noise [B, draws, H, A] of one key, or of S keys in order.

  Args:
    keys: of `embed`, which has consumed them itself.
    rows: B, together for all keys.
    draws: for each row.
    spec: has `horizon` and `action_dim`.
  """
  groups = jnp.atleast_2d(keys)
  shape = rows // len(groups), draws, spec.horizon, spec.action_dim
  return jnp.concatenate(
    [jax.random.normal(jax.random.fold_in(key, 1), shape) for key in groups]
  )
