"""The frozen VLA and its token as one function from message to message."""

from collections.abc import Callable
import time
from typing import Any

import jax
import numpy as np

from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.serving import schema
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.types import Observation
from rlt_jax.vlas.vla import FrozenVla


def make_spec(vla: FrozenVla, token: RlToken) -> schema.ServingSpec:
  """Returns the spec of a server of these two."""
  return schema.ServingSpec(
    cameras=vla.spec.cameras,
    image_size=vla.spec.image_size,
    proprio_dim=vla.spec.proprio_dim,
    horizon=vla.spec.horizon,
    action_dim=vla.spec.action_dim,
    z_dim=token.spec.z_dim,
    joint_names=vla.spec.joint_names,
    action_mode=vla.spec.action_mode,
    action_scale=vla.spec.action_scale,
    vla_fingerprint=vla.spec.fingerprint,
    token_fingerprint=token.spec.fingerprint,
  )


def make_infer(
  vla: FrozenVla, token: RlToken, spec: schema.ServingSpec, seed: int
) -> Callable[[dict[str, Any]], dict[str, Any]]:
  """Builds the function from request to reply, and compiles it.

  Args:
    vla, token: frozen; the token was trained on this VLA.
    spec: of `make_spec`.
    seed: the n-th request that is answered, from 0, consumes the key
      fold_in(key(seed), n), whichever client sent it.
  """
  space = ActionSpace(
    np.asarray(vla.spec.action_scale, np.float32), vla.spec.action_mode
  )

  @jax.jit
  def query(params, observation, key, count):
    vla_params, token_params = params
    batch = jax.tree.map(lambda x: x[None], observation)
    out = vla.apply(vla_params, batch, jax.random.fold_in(key, count))
    z_rl = token.apply(token_params, out.tokens, out.mask)[0]
    # Proprioception is positions, then velocities.
    pose = observation.proprio[: spec.action_dim]
    reference = out.reference[0]
    return space.decode(reference, pose), z_rl, reference

  params, key = (vla.params, token.params), jax.random.key(seed)
  count = 0

  def infer(message: dict[str, Any]) -> dict[str, Any]:
    nonlocal count
    request = schema.read_request(spec, message)
    words = vla.tokenize(request.prompt)
    observation = Observation(request.images, request.proprio, words)
    start = time.monotonic()
    out = query(params, observation, key, np.uint32(count))
    actions, z_rl, reference = jax.device_get(out)
    infer_ms = (time.monotonic() - start) * 1e3
    count += 1
    reply = schema.make_reply(
      spec, actions=actions, z_rl=z_rl, reference=reference
    )
    return reply | {'policy_timing': {'infer_ms': infer_ms}}

  side = (spec.image_size, spec.image_size, 3)
  blank = schema.make_request(
    spec,
    images={name: np.zeros(side, np.uint8) for name in spec.cameras},
    proprio=np.zeros(spec.proprio_dim),
    prompt='none',
  )
  infer(blank)
  count = 0
  return infer
