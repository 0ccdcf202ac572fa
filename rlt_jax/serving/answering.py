"""From a VLA's query to the function that a server runs; NumPy only.

For VLAs of any framework: what is left to write is `query`, see
docs/vla_server.md.
"""

from collections.abc import Callable, Sequence
import time
from typing import Any, NamedTuple

import numpy as np

from rlt_jax.serving import observation_keys, schema
from rlt_jax.serving.serving_spec import ServingSpec


class Answer(NamedTuple):
  """What a VLA gives for B observations.

  actions: [B, H, A] absolute joint targets, rad and m.
  tokens: [B, N, D] image tokens of all cameras, in the order of the spec.
  mask: bool [B, N], False is padding, which may hold anything.

  tokens and mask may be arrays of another framework.
  """

  actions: np.ndarray
  tokens: Any
  mask: Any


def make_infer(
  spec: ServingSpec,
  query: Callable[[schema.Request, np.ndarray], Answer],
  encode: Callable[[Any, Any], Any] | None = None,
  *,
  seed: int = 0,
  keys: Sequence[str] = (),
  to_numpy: Callable[[Any], np.ndarray] = np.asarray,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
  """Builds the function from request to reply for `server.PolicyServer`.

  Args:
    spec: of the server.
    query: (request, noise [B, H, A]) -> Answer; the request's arrays lead with
      [B].
    encode: (tokens, mask) -> z_rl [B, Z], as `plain_encoder.make` returns it;
      None before there is a token.
    seed: the n-th request without noise draws it from (seed, n).
    keys: see `observation_keys`.
    to_numpy: from an array of the VLA's framework to one of NumPy.

  Raises:
    ValueError: a spec with a token and no `encode`, or the reverse. The
      function raises one for what breaks the schema, in request or answer.
  """
  if bool(spec.z_dim) != (encode is not None):
    raise ValueError(
      'encode must be given if and only if the spec has a z_dim: '
      f'{"given" if encode else "missing"}, {spec.z_dim}.'
    )
  translate = observation_keys.make(spec, keys) if keys else dict
  scale, count = np.array(spec.action_scale), 0

  def infer(message: dict[str, Any]) -> dict[str, Any]:
    nonlocal count
    request = schema.read_request(spec, translate(message))
    single = request.batch_size is None
    start = time.monotonic()
    if single:
      request = request._replace(
        images={name: x[None] for name, x in request.images.items()},
        proprio=request.proprio[None],
        noise=None if request.noise is None else request.noise[None],
      )
    noise = request.noise
    if noise is None:
      shape = (len(request.proprio), spec.horizon, spec.action_dim)
      rng = np.random.default_rng((seed, count))
      noise, count = rng.standard_normal(shape, np.float32), count + 1
    out = query(request, noise)
    steps = out.actions - request.proprio[:, None, : spec.action_dim]
    if spec.action_mode == 'increment':
      steps = np.diff(steps, axis=1, prepend=0.0)
    reply = {'actions': out.actions, 'reference': steps / scale}
    if request.want:
      mask = to_numpy(out.mask)
      tokens = np.where(mask[..., None], to_numpy(out.tokens), 0.0)
      reply |= {'tokens': tokens, 'mask': mask}
    else:
      reply['z_rl'] = to_numpy(encode(out.tokens, out.mask))
    if single:
      reply = {name: x[0] for name, x in reply.items()}
    make = schema.make_token_reply if request.want else schema.make_reply
    infer_ms = (time.monotonic() - start) * 1e3
    return make(spec, **reply) | {'policy_timing': {'infer_ms': infer_ms}}

  return infer
