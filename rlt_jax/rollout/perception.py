"""From the simulator's state to what the actor and critic see.

Images and proprioception go through the frozen VLA and the frozen token
encoder; the actor-critic meets only `z_rl`, proprioception and the reference.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.tasks.ethernet import insertion
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.types import Array, Features, Observation, PRNGKey
from rlt_jax.vlas.vla import FrozenVla

TOKEN_ABLATIONS = ('none', 'zeros', 'socket_blind', 'true_pose')


class Perception(NamedTuple):
  """Everything between a world and the actor-critic; made by `make`.

  perceive: (State [B], key, prompt=None) -> Features [B]. The key is consumed;
    a prompt, int32 [L], goes before the task's own.
  perceive_each: (State [S * B], keys [S]) -> Features [S * B]; B worlds a key,
    each group as `perceive` sees it, all in one call.
  space: the action space that references and actions are in.
  """

  perceive: Callable[..., Features]
  perceive_each: Callable[[insertion.State, PRNGKey], Features]
  space: ActionSpace
  z_dim: int
  proprio_dim: int
  action_dim: int


def make(
  *,
  render: Callable[[insertion.State], dict[str, Array]],
  vla: FrozenVla,
  token: RlToken,
  prompt: np.ndarray,
  token_ablation: str = 'none',
  scene: scene_lib.Scene | None = None,
) -> Perception:
  """Builds the perception of one task.

  Args:
    render: from `sim.camera.make`.
    vla, token: frozen; the token was trained on this VLA.
    prompt: int32 [L] the instruction.
    token_ablation: 'none' is the method. 'zeros' shows what the token is worth.
      'socket_blind' puts a fixed random map of proprioception in its place:
      as wide, as lively, and without the socket. 'true_pose' shows what a
      perfect token would be worth: where the plug is in the socket's frame.
    scene: of the task; only 'true_pose' reads it.

  Raises:
    ValueError: unknown token_ablation, a token of another VLA, or no scene
      for the
      true pose.
  """
  if token_ablation not in TOKEN_ABLATIONS:
    raise ValueError(
      f'token_ablation must be one of {TOKEN_ABLATIONS}: {token_ablation!r}.'
    )
  if token.spec.vla_fingerprint != vla.spec.fingerprint:
    raise ValueError(
      'The token must have been trained on this VLA, '
      f'{vla.spec.fingerprint}: {token.spec.vla_fingerprint}.'
    )
  if token_ablation == 'true_pose' and scene is None:
    raise ValueError("token_ablation 'true_pose' needs the task's scene: None.")
  z_dim, proprio_dim = token.spec.z_dim, vla.spec.proprio_dim
  blind = np.random.default_rng(0).normal(size=(proprio_dim, z_dim))
  blind = jnp.asarray(blind / np.sqrt(proprio_dim), jnp.float32)

  def read(params, images, proprio, key, prompt):
    vla_params, token_params, stats = params
    rows = proprio.shape[0]
    observation = Observation(
      images, proprio, jnp.broadcast_to(prompt, (rows, len(prompt)))
    )
    out = vla.apply(vla_params, observation, key)
    scaled = stats.normalize(proprio)
    if token_ablation == 'none':
      z_rl = token.apply(token_params, out.tokens, out.mask)
    elif token_ablation == 'socket_blind':
      z_rl = jnp.tanh(2.0 * scaled @ blind)
    else:
      z_rl = jnp.zeros((rows, z_dim))
    return z_rl, scaled, out.reference

  tell = _pose_teller(scene, z_dim) if token_ablation == 'true_pose' else None
  read_each = jax.jit(jax.vmap(read, in_axes=(None, 0, 0, 0, None)))
  read = jax.jit(read)
  params = (vla.params, token.params, vla.proprio_stats())

  def perceive(
    state: insertion.State, key: PRNGKey, other: np.ndarray | None = None
  ) -> Features:
    proprio = insertion.proprio(state)
    words = prompt if other is None else other
    z_rl, scaled, reference = read(params, render(state), proprio, key, words)
    z_rl = z_rl if tell is None else tell(state)
    pose = insertion.joint_positions(state)
    return Features(z_rl, scaled, reference, pose)

  def perceive_each(state: insertion.State, keys: PRNGKey) -> Features:
    images, proprio = jax.tree.map(
      lambda x: x.reshape(len(keys), -1, *x.shape[1:]),
      (render(state), insertion.proprio(state)),
    )
    seen = read_each(params, images, proprio, keys, prompt)
    z_rl, scaled, reference = (x.reshape(-1, *x.shape[2:]) for x in seen)
    z_rl = z_rl if tell is None else tell(state)
    pose = insertion.joint_positions(state)
    return Features(z_rl, scaled, reference, pose)

  return Perception(
    perceive=perceive,
    perceive_each=perceive_each,
    space=ActionSpace(
      np.asarray(vla.spec.action_scale, np.float32), vla.spec.action_mode
    ),
    z_dim=z_dim,
    proprio_dim=proprio_dim,
    action_dim=vla.spec.action_dim,
  )


def _pose_teller(
  scene: scene_lib.Scene, z_dim: int
) -> Callable[[insertion.State], Array]:
  """Returns a jitted State [B] -> z_rl [B, Z] that holds the true pose.

  Far and near, position in 5 mm and, bent, in 1 mm; the turn in 3 degrees. A
  fixed random layer makes it as wide as a token.

  Raises:
    ValueError: Z has no room for the pose.
  """
  size = 9
  if z_dim < size:
    raise ValueError(f"token_ablation 'true_pose' needs Z of {size}: {z_dim}.")
  layer = np.random.default_rng(1).normal(size=(size, z_dim - size))
  layer = jnp.asarray(layer, jnp.float32)

  def tell(state: insertion.State) -> Array:
    pose = insertion.plug_in_socket(scene, state)
    position, turn = pose[:3] * 1e3, jnp.rad2deg(pose[3:])
    x = jnp.concatenate([position / 5.0, jnp.tanh(position), turn / 3.0])
    return jnp.concatenate([x, jnp.tanh(1.5 * x @ layer)])

  return jax.jit(jax.vmap(tell))
