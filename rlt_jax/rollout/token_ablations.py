"""Replacements of the RL token, to measure what the token contributes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rollout import TOKEN_ABLATIONS
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import Array

# (State [B], z_rl [B, Z], normalized proprioception [B, P]) -> z_rl [B, Z].
Ablation = Callable[[State, Array, Array], Array]
_POSE_FEATURES = 9


def make(name: str, task: Task, z_dim: int, proprio_dim: int) -> Ablation:
  """Builds the function that replaces the token.

  Args:
    name: 'none', 'mean_tokens' and 'resnet10_sim' keep what the embedder gives:
      the token, the mean of the VLA's tokens (`rl_token.mean_token`), or the
      map of a ResNet-10 (`resnet10.embedder`). 'zeros' replaces it by zeros.
      'socket_blind' replaces it by a fixed random map of proprioception, of the
      same width and scale but without information from the images. 'true_pose'
      replaces it by the task's privileged pose (in the Ethernet task the plug
      in the socket's frame), which bounds what a perfect token could
      contribute.
    task: its true pose is read by 'true_pose' only.
    z_dim, proprio_dim: Z and P.

  Raises:
    ValueError: an unknown name, a task without a true pose, or Z too small for
      it.
  """
  if name not in TOKEN_ABLATIONS:
    raise ValueError(
      f'token_ablation must be one of {TOKEN_ABLATIONS}: {name!r}.'
    )
  if name in ('none', 'mean_tokens', 'resnet10_sim'):
    return lambda state, z_rl, proprio: z_rl
  if name == 'zeros':
    return lambda state, z_rl, proprio: jnp.zeros_like(z_rl)
  if name == 'socket_blind':
    return _make_blind(z_dim, proprio_dim)
  return _make_true_pose(task, z_dim)


def _make_blind(z_dim: int, proprio_dim: int) -> Ablation:
  weight = np.random.default_rng(0).normal(size=(proprio_dim, z_dim))
  weight = jnp.asarray(weight / np.sqrt(proprio_dim), jnp.float32)
  project = jax.jit(lambda proprio: jnp.tanh(2.0 * proprio @ weight))
  return lambda state, z_rl, proprio: project(proprio)


def _make_true_pose(task: Task, z_dim: int) -> Ablation:
  """Builds the ablation with the true pose.

  The entries are the position in units of 5 mm, tanh of the position in units
  of 1 mm, and the rotation in units of 3 degrees. A fixed random layer of these
  fills the rest of z_rl.
  """
  if task.true_pose is None:
    raise ValueError(
      "token_ablation 'true_pose' needs a task with a true pose: "
      f'{task.spec.name}.'
    )
  if z_dim < _POSE_FEATURES:
    raise ValueError(
      f"token_ablation 'true_pose' needs Z of {_POSE_FEATURES}: {z_dim}."
    )
  layer = np.random.default_rng(1).normal(
    size=(_POSE_FEATURES, z_dim - _POSE_FEATURES)
  )
  layer = jnp.asarray(layer, jnp.float32)

  def pose_features(state: State) -> Array:
    pose = task.true_pose(state)
    position, turn = pose[:3] * 1e3, jnp.rad2deg(pose[3:])
    x = jnp.concatenate([position / 5.0, jnp.tanh(position), turn / 3.0])
    return jnp.concatenate([x, jnp.tanh(1.5 * x @ layer)])

  features = jax.jit(jax.vmap(pose_features))
  return lambda state, z_rl, proprio: features(state)
