"""The frozen VLA and its token as one function from message to message."""

from collections.abc import Callable
import time
from typing import Any

import jax
import numpy as np

from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.serving import codec, schema
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.types import Observation
from rlt_jax.vlas.vla import draw_noise, FrozenVla

_MAX_BATCH = 64  # observations in one request, if a frame can hold them


def make_spec(vla: FrozenVla, token: RlToken) -> schema.ServingSpec:
  """Returns the spec of a server of these two."""
  stats = vla.proprio_stats()
  side = vla.spec.image_size
  images = len(vla.spec.cameras) * side * side * 3  # bytes of an observation
  return schema.ServingSpec(
    cameras=vla.spec.cameras,
    image_size=side,
    proprio_dim=vla.spec.proprio_dim,
    horizon=vla.spec.horizon,
    action_dim=vla.spec.action_dim,
    z_dim=token.spec.z_dim,
    joint_names=vla.spec.joint_names,
    action_mode=vla.spec.action_mode,
    action_scale=vla.spec.action_scale,
    vla_fingerprint=vla.spec.fingerprint,
    token_fingerprint=token.spec.fingerprint,
    control_hz=float(vla.spec.control_hz),
    proprio_mean=tuple(float(x) for x in np.asarray(stats.mean)),
    proprio_std=tuple(float(x) for x in np.asarray(stats.std)),
    # Half a frame leaves room for everything that is not an image.
    max_batch=min(_MAX_BATCH, max(1, codec.MAX_FRAME_BYTES // (2 * images))),
    takes_noise=True,
  )


def make_infer(
  vla: FrozenVla, token: RlToken, spec: schema.ServingSpec, seed: int
) -> Callable[[dict[str, Any]], dict[str, Any]]:
  """Builds the function from request to reply, and compiles it.

  A single observation is compiled here; a batch when its size comes first,
  rounded up to a power of two.

  Args:
    vla, token: frozen; the token was trained on this VLA.
    spec: of `make_spec`.
    seed: the n-th request that is answered, from 0, consumes the key
      fold_in(key(seed), n), whichever client sent it. One that brings its own
      noise consumes none.
  """
  query = _make_query(vla, token, spec)
  params, key = (vla.params, token.params), jax.random.key(seed)
  draw = jax.jit(
    lambda count, rows: draw_noise(jax.random.fold_in(key, count), rows, spec),
    static_argnums=1,
  )
  count = 0

  def infer(message: dict[str, Any]) -> dict[str, Any]:
    nonlocal count
    request = schema.read_request(spec, message)
    prompt = vla.tokenize(request.prompt)
    rows, noise = request.batch_size or 1, request.noise
    start = time.monotonic()
    if noise is None:
      noise = draw(np.uint32(count), rows)
      count += 1
    images, proprio = request.images, request.proprio
    if request.batch_size is None:
      images, proprio = jax.tree.map(lambda x: x[None], (images, proprio))
      noise = np.reshape(noise, (1, *noise.shape[-2:]))
    batch = Observation(images, proprio, np.tile(prompt, (rows, 1)))
    padded = jax.tree.map(_pad, (batch, noise))
    out = jax.device_get(query(params, *padded))
    infer_ms = (time.monotonic() - start) * 1e3
    out = [x[:rows] if request.batch_size else x[0] for x in out]
    actions, z_rl, reference = out
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


def _make_query(vla, token, spec):
  """Returns (params, Observation [B], noise) -> actions, z_rl, reference."""
  space = ActionSpace(
    np.asarray(vla.spec.action_scale, np.float32), vla.spec.action_mode
  )

  @jax.jit
  def query(params, observation, noise):
    vla_params, token_params = params
    out = vla.apply_with_noise(vla_params, observation, noise)
    z_rl = token.apply(token_params, out.tokens, out.mask)
    # Proprioception begins with the joint positions.
    pose = observation.proprio[:, : spec.action_dim]
    return space.decode(out.reference, pose), z_rl, out.reference

  return query


def _pad(x):
  """Repeats the last row until the number of rows is a power of two."""
  missing = (1 << (len(x) - 1).bit_length()) - len(x)
  return np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
