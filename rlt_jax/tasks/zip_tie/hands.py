"""Joints of both arms for poses of the straight strap and of the head."""

import jax
import jax.numpy as jnp

from rlt_jax.sim import kinematics
from rlt_jax.sim.kinematics import Chain
from rlt_jax.sim.precision import full_precision
from rlt_jax.tasks.zip_tie.scene import Scene
from rlt_jax.types import Array

_Grasp = tuple[Array, Array]


@full_precision
def solve(
  scene: Scene,
  joints: Array,
  grasps: tuple[_Grasp, _Grasp],
  places: tuple[Array, Array],
  turns: tuple[Array, Array],
  *,
  iterations: int,
) -> Array:
  """Returns joints [A], grippers shut, that bring both parts to their poses.

  Both arms are one vmapped loop: XLA compiles their kinematics once.

  Args:
    scene: of the task.
    joints: [A] rad and m, the starting guess.
    grasps: of the strap and of the head in their hands, as in `State`.
    places: [3] m, world, of the strap's tip and of the middle of the mouth.
    turns: [3] rad, rotation vectors from home.
    iterations: Newton steps.
  """
  both = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]),
                      scene.right, scene.head)  # fmt: skip
  shifts, skews = (jnp.stack(x) for x in zip(*grasps, strict=True))
  places, turns = jnp.stack(places), jnp.stack(turns)

  def newton(_, arms: Array) -> Array:
    return jax.vmap(_newton)(both, arms, shifts, skews, places, turns)

  start = jnp.stack([joints[:6], joints[7:13]])
  right, left = jax.lax.fori_loop(0, iterations, newton, start)
  shut = jnp.zeros(1)
  return jnp.concatenate([right, shut, left, shut])


def _newton(
  chain: Chain, arm: Array, shift: Array, skew: Array, place: Array, turn: Array
) -> Array:
  matrix = kinematics.rotation(turn) @ chain.base_mat
  return kinematics.solve_tip(
    chain, arm, shift, skew, place, matrix, iterations=1
  )
