"""The frozen VLA and its token as one function from message to message."""

from collections.abc import Callable, Sequence
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax import signals
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.serving import observation_keys, schema, serving_spec
from rlt_jax.sim.action_space import ActionSpace
from rlt_jax.types import Observation
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas.vla import draw_noise, FrozenVla


def check_task(task: Any) -> None:
  """Raises a ValueError for a task whose joints a reply cannot start from.

  Args:
    task: its `TaskSpec`. The 'actions' of a reply are absolute joint targets,
      and a reference counts from the joints that begin proprioception.
  """
  if not task.proprio_has_joints:
    raise ValueError(
      'A served VLA answers with joint targets, so joint positions must begin '
      f"the task's proprioception: {list(task.proprio_names[:3])} ... Give "
      '--set=task.proprio=joints.'
    )


def check_state(vla: Any, task: Any) -> None:
  """Raises a ValueError if a request of a task lacks what the VLA reads.

  Args:
    vla: its `VlaSpec`. Where its state is the joints it reads the first entries
      of proprioception.
    task: `TaskSpec`; None for an arm without one, which sends both.
  """
  if task is None or vla.state != 'joints':
    return
  entries = known_tasks.joint_entries(vla.joint_names)
  found = task.proprio_names[: len(entries)]
  if tuple(found) != entries:
    raise ValueError(
      'The VLA reads positions and rates of the joints, which must begin the '
      f"task's proprioception, from {entries[0]!r} to {entries[-1]!r}: it "
      f'begins from {found[0]!r} to {found[-1]!r}. Give '
      '--set=task.proprio=joints.'
    )


def make_spec(vla: FrozenVla, token: RlToken) -> schema.ServingSpec:
  """Returns the spec of a server of these two."""
  stats = vla.proprio_stats()
  spec = schema.ServingSpec(
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
    control_hz=float(vla.spec.control_hz),
    proprio_mean=tuple(float(x) for x in np.asarray(stats.mean)),
    proprio_std=tuple(float(x) for x in np.asarray(stats.std)),
    takes_noise=True,
    reads_joints=vla.reads_joints or vla.spec.state == 'joints',
    num_image_tokens=token.spec.num_image_tokens,
    token_dim=token.spec.token_dim,
    token_dtype='float16',
  )
  return serving_spec.with_batches(spec)


def make_infer(
  vla: FrozenVla,
  token: RlToken,
  spec: schema.ServingSpec,
  seed: int,
  keys: Sequence[str] = (),
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
    keys: see `observation_keys`; for clients that name observations otherwise.

  Raises:
    ValueError: keys that do not fit.
    KeyboardInterrupt: a signal came; the compilation is given up at once.
  """
  translate = observation_keys.make(spec, keys) if keys else dict
  query = _make_query(vla, token, spec)
  params, key = (vla.params, token.params), jax.random.key(seed)
  draw = jax.jit(
    lambda count, rows: draw_noise(jax.random.fold_in(key, count), rows, spec),
    static_argnums=1,
  )
  count = 0

  def infer(message: dict[str, Any]) -> dict[str, Any]:
    return answer(schema.read_request(spec, translate(message)))

  def answer(request: schema.Request) -> dict[str, Any]:
    nonlocal count
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
    state = proprio[:, : vla.spec.state_dim]
    batch = Observation(images, state, np.tile(prompt, (rows, 1)))
    padded = jax.tree.map(_pad, (batch, noise))
    out = query(params, *padded)
    unwanted = ('z_rl',) if request.want else ('tokens', 'mask')
    out = {name: x for name, x in out.items() if name not in unwanted}
    out = jax.device_get(out)
    infer_ms = (time.monotonic() - start) * 1e3
    out = {k: x[:rows] if request.batch_size else x[0] for k, x in out.items()}
    make = schema.make_token_reply if request.want else schema.make_reply
    reply = make(spec, **out)
    return reply | {'policy_timing': {'infer_ms': infer_ms}}

  prompt = vla.sample_instruction()
  blank = schema.make_blank_request(spec, spec.proprio_mean, prompt)
  signals.call(answer, schema.read_request(spec, blank))
  count = 0
  return infer


def _make_query(vla, token, spec):
  """Returns (params, Observation [B], noise) -> arrays of both replies."""
  space = ActionSpace(
    np.asarray(vla.spec.action_scale, np.float32), vla.spec.action_mode
  )

  @jax.jit
  def query(params, observation, noise):
    vla_params, token_params = params
    out = vla.apply_with_noise(vla_params, observation, noise)
    z_rl = token.apply(token_params, out.tokens, out.mask)
    # Proprioception begins with the joint positions, see `check_task`.
    pose = observation.proprio[:, : spec.action_dim]
    count = token.spec.num_image_tokens
    mask = out.mask[:, :count]
    return {
      'actions': space.decode(out.reference, pose),
      'reference': out.reference,
      'z_rl': z_rl,
      # Padding may hold anything, and is sent as zeros.
      'tokens': jnp.where(mask[..., None], out.tokens[:, :count], 0.0),
      'mask': mask,
    }

  return query


def _pad(x):
  """Repeats the last row until the number of rows is a power of two."""
  missing = (1 << (len(x) - 1).bit_length()) - len(x)
  return np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
