"""A policy of LeRobot and its RL token as one function of messages."""

from collections.abc import Callable, Sequence
import hashlib
from typing import Any

import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.lerobot import families
from rlt_jax.lerobot.checkpoint import LoadedPolicy
from rlt_jax.lerobot.facts import STATE, VlaFacts
from rlt_jax.lerobot.joint_table import JointTable
from rlt_jax.rl_token import plain_encoder
from rlt_jax.rl_token.token_record import TokenRecord
from rlt_jax.serving import answering, schema, serving_spec
from rlt_jax.serving.answering import Answer
from rlt_jax.serving.serving_spec import ServingSpec

_MEAN_SLACK = 1.0  # deviations; a part of the data has nearly its mean
_SPREAD_SLACK = 3.0  # ratio of deviations
_RESTING = 2e-3  # rad or m; a joint that moves less says nothing
_LANGUAGE_MASK = 'observation.language.attention_mask'


class LeRobotVla:
  """A loaded policy that is asked in the robot's terms.

  facts, table: of the robot. cameras: ours, in the policy's order.
  camera_tokens: how many tokens each has, known after the first query.
  fingerprint: of weights, statistics, tokenizer, settings and the facts.
  """

  def __init__(
    self, loaded: LoadedPolicy, facts: VlaFacts, *, adapter: str = ''
  ):
    """Compares the policy with the facts; asks nothing yet.

    Args:
      loaded: the policy.
      facts: of the robot, from the policy's own training data.
      adapter: see `families.load`.

    Raises:
      ValueError: cameras, entries or chunks that do not fit.
    """
    keys = {row.key: row.camera for row in facts.cameras}
    missing = [key for key in loaded.cameras if key not in keys]
    extra = [key for key in keys if key not in loaded.cameras]
    if missing or extra:
      raise ValueError(
        f"The cameras of the facts must be the policy's, "
        f'{list(loaded.cameras)}: missing {missing}, unknown {extra}. LeRobot '
        'would fill a missing one with black and say nothing.'
      )
    for name, entries, size in (
      ('state', facts.state, loaded.state_dim),
      ('action', facts.action, loaded.action_dim),
    ):
      if len(entries) != size:
        raise ValueError(
          f"The {name} of the facts must have the policy's {size} entries: "
          f'{list(entries)}. Measure the facts on the data it was trained on.'
        )
    _check_moments(loaded, facts)
    self._loaded, self.facts = loaded, facts
    self.cameras = tuple(keys[key] for key in loaded.cameras)
    self.table = JointTable(facts, loaded.config.chunk_size)
    self.camera_tokens: tuple[int, ...] = ()
    self._query = families.load(loaded.kind, adapter)(loaded.policy)
    width = getattr(loaded.config, 'max_action_dim', loaded.action_dim)
    # Drawn once: for entries and steps without a joint any draw is as good.
    self._rest = np.random.default_rng(0).standard_normal(
      (loaded.config.chunk_size, width), np.float32
    )
    text = f'{loaded.digest}{config_lib.to_json(facts)}{adapter}'
    self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

  @property
  def kind(self) -> str:
    """LeRobot's type of the policy."""
    return self._loaded.kind

  @property
  def device(self) -> str:
    """PyTorch's device of its weights."""
    return self._loaded.config.device

  def query(self, request: schema.Request, noise: np.ndarray) -> Answer:
    """Runs the policy once for B observations.

    The tokens are those of the cameras; they and the mask are of PyTorch.

    Args:
      request: arrays lead with [B].
      noise: [B, H, A] where the flow starts.

    Raises:
      ValueError: an instruction that would be cut, or a policy that runs in
        another way than its adapter expects.
    """
    import torch

    facts, loaded = self.facts, self._loaded
    rows, joints = len(request.proprio), len(facts.joints)
    pose = request.proprio[:, :joints].astype(np.float64)
    batch: dict[str, Any] = {'task': [request.prompt] * rows}
    batch[STATE] = torch.from_numpy(self.table.state(pose))
    for key, camera in zip(loaded.cameras, self.cameras, strict=True):
      pixels = torch.from_numpy(np.moveaxis(request.images[camera], -1, 1))
      batch[key] = pixels.to(torch.float32) / 255.0
    start = self.table.noise(noise, self._rest)
    with torch.inference_mode():
      inputs = loaded.preprocess(batch)
      self._check_prompt(inputs, request.prompt)
      start = torch.from_numpy(start).to(loaded.config.device)
      found = self._query(inputs, start)
      actions = loaded.postprocess(found.chunk)
      self.camera_tokens = found.camera_tokens[: len(self.cameras)]
      count = sum(self.camera_tokens)
      tokens, mask = found.tokens[:, :count].float(), found.mask[:, :count]
    actions = actions.to('cpu', torch.float64).numpy()
    return Answer(self.table.decode(actions), tokens, mask)

  def _check_prompt(self, inputs: dict[str, Any], prompt: str) -> None:
    if not prompt.strip():
      raise ValueError(f'The instruction must not be empty: {prompt!r}.')
    mask = inputs.get(_LANGUAGE_MASK)
    limit = getattr(self._loaded.config, 'tokenizer_max_length', None)
    if mask is None or limit is None:
      return
    used = int(mask.sum(-1).max())
    if used >= limit:
      raise ValueError(
        f'The instruction must have less than {limit} tokens, those of the '
        f'state included where the policy reads it as text: {prompt!r} fills '
        'them, and the policy would cut it.'
      )


def _check_moments(loaded: LoadedPolicy, facts: VlaFacts) -> None:
  """Refuses facts of other data, units or another order than the policy's."""
  if loaded.state_moments is None:
    return
  mean, std = loaded.state_moments
  table, joints = JointTable(facts, loaded.config.chunk_size), len(facts.joints)
  pose = np.array(facts.proprio_mean)[None, :joints]
  spread = np.array(facts.proprio_std)[None, :joints]
  found = table.state(pose)[0]
  found_std, small = (
    np.abs(table.state(pose + x)[0] - found) for x in (spread, _RESTING)
  )
  wrong = np.abs(found - mean) > _MEAN_SLACK * std + small
  wrong |= found_std > _SPREAD_SLACK * std + small
  wrong |= std > _SPREAD_SLACK * found_std + small
  if wrong.any():
    i = int(np.argmax(wrong))
    raise ValueError(
      f'{facts.state[i]!r} must have the mean and deviation that the '
      f'checkpoint states, {mean[i]:.4g} and {std[i]:.4g}: {found[i]:.4g} and '
      f'{found_std[i]:.4g} by the facts. Measure them on the data that the '
      'policy was trained on.'
    )


def make_spec(
  vla: LeRobotVla,
  token: TokenRecord | None,
  prompt: str,
  token_dtype: str = 'float16',
) -> ServingSpec:
  """Returns the spec of a server; asks the policy once to count its tokens.

  Args:
    vla: the policy.
    token: None before it is trained: the server then gives tokens only.
    prompt: an instruction that the policy can read.
    token_dtype: of tokens on the wire.

  Raises:
    ValueError: a token of other sizes than the policy's.
  """
  facts, table = vla.facts, vla.table
  sizes = {row.camera: (row.height, row.width) for row in facts.cameras}
  shapes = tuple(sizes[name] for name in vla.cameras)
  side = shapes[0][0]
  square = set(shapes) == {(side, side)}
  A = len(facts.joints)
  request = schema.Request(
    images={k: np.zeros((1, *sizes[k], 3), np.uint8) for k in vla.cameras},
    proprio=np.array([facts.proprio_mean], np.float32),
    prompt=prompt,
  )
  blank = vla.query(request, np.zeros((1, table.horizon, A), np.float32))
  spec = ServingSpec(
    cameras=vla.cameras,
    image_size=side if square else 0,
    image_shapes=() if square else shapes,
    proprio_dim=2 * A,
    horizon=table.horizon,
    action_dim=A,
    z_dim=0,
    joint_names=facts.joint_names,
    action_mode='offset',
    action_scale=facts.action_scale,
    vla_fingerprint=vla.fingerprint,
    token_fingerprint='',
    control_hz=facts.control_hz,
    proprio_mean=facts.proprio_mean,
    proprio_std=facts.proprio_std,
    takes_noise=True,
    reads_joints=True,
    num_image_tokens=int(blank.tokens.shape[1]),
    token_dim=int(blank.tokens.shape[2]),
    token_dtype=token_dtype,
    camera_tokens=vla.camera_tokens,
  )
  if token is not None:
    spec = serving_spec.with_token(spec, token.spec)
  return serving_spec.with_batches(spec)


def make_infer(
  vla: LeRobotVla,
  token: TokenRecord | None,
  spec: ServingSpec,
  seed: int,
  keys: Sequence[str] = (),
) -> Callable[[dict[str, Any]], dict[str, Any]]:
  """Builds the function from request to reply.

  Args:
    vla, token, spec: of `make_spec`.
    seed, keys: see `answering.make_infer`.
  """
  return answering.make_infer(
    spec,
    vla.query,
    None if token is None else _make_encoder(token, vla),
    seed=seed,
    keys=keys,
    to_numpy=lambda x: x.cpu().numpy(),
  )


def _make_encoder(token: TokenRecord, vla: LeRobotVla) -> Any:
  import torch

  device = vla.device
  encode = plain_encoder.make(
    token, torch, lambda x: torch.as_tensor(x, device=device)
  )

  def run(tokens, mask):
    with torch.inference_mode():
      return encode(tokens, mask)

  return run


def describe(vla: LeRobotVla, spec: ServingSpec) -> str:
  """Returns a line of text for the log."""
  cameras = ', '.join(
    f'{name} {count}'
    for name, count in zip(spec.cameras, spec.camera_tokens, strict=True)
  )
  return (
    f'{vla.kind}: {spec.num_image_tokens} image tokens of width '
    f'{spec.token_dim} ({cameras}), chunks of {spec.horizon} steps at '
    f'{spec.control_hz:g} Hz.'
  )
