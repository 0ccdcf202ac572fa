"""Takes the prefix's embeddings out of a policy's own forward pass.

A policy computes them once a chunk and throws them away. Hooks keep them, so no
line of the policy's is repeated here and a chunk costs what it costs LeRobot.
"""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, NamedTuple


class Query(NamedTuple):
  """What a policy gives for B observations; torch tensors.

  tokens: [B, N, D] embeddings after the VLM, image tokens first.
  mask: bool [B, N], False is padding.
  camera_tokens: how many of the first tokens each camera has, in the policy's
    order; cameras that the policy adds as empty ones included.
  chunk: [B, h, n] in the policy's normalized units.
  """

  tokens: Any
  mask: Any
  camera_tokens: tuple[int, ...]
  chunk: Any


class Taps(NamedTuple):
  """Where a policy's parts are.

  norm: the last module that the prefix passes; its output, or the first of a
    tuple, are the tokens.
  prefix: has `embed_prefix`, whose second result is the mask.
  image: has `embed_image`, called once a camera, [B, tokens, D].
  """

  norm: Any
  prefix: Any
  image: Any


def make_query(policy: Any, taps: Taps) -> Callable[[dict, Any], Query]:
  """Returns (batch, noise) -> Query of a policy with `predict_action_chunk`.

  Raises:
    ValueError: the function, where the policy does not run its prefix exactly
      once a chunk.
  """

  def query(batch: dict[str, Any], noise: Any) -> Query:
    tokens, masks, counts = [], [], []
    with contextlib.ExitStack() as stack:
      handle = taps.norm.register_forward_hook(
        lambda module, inputs, output: tokens.append(
          (output[0] if isinstance(output, tuple) else output).clone()
        )
      )
      stack.callback(handle.remove)
      stack.enter_context(
        _watched(taps.prefix, 'embed_prefix', lambda x: masks.append(x[1]))
      )
      stack.enter_context(
        _watched(
          taps.image, 'embed_image', lambda x: counts.append(int(x.shape[1]))
        )
      )
      chunk = policy.predict_action_chunk(batch, noise=noise)
    if len(tokens) != 1 or len(masks) != 1 or not counts:
      raise ValueError(
        'A chunk must take one pass of the prefix and one of each camera: '
        f'{len(tokens)} outputs of its last norm, {len(masks)} masks, '
        f'{len(counts)} pictures. This release of LeRobot runs '
        f'{type(policy).__name__} in another way; write an adapter.'
      )
    if tokens[0].shape[:2] != masks[0].shape:
      raise ValueError(
        f'Tokens must have a mask each: {tuple(tokens[0].shape)} and '
        f'{tuple(masks[0].shape)}.'
      )
    return Query(tokens[0], masks[0].bool(), tuple(counts), chunk)

  return query


@contextlib.contextmanager
def _watched(
  owner: Any, name: str, see: Callable[[Any], None]
) -> Iterator[None]:
  """Shows each result of a method to `see` within."""
  method = getattr(owner, name)

  def call(*args, **kwargs):
    result = method(*args, **kwargs)
    see(result)
    return result

  object.__setattr__(owner, name, call)  # no module of PyTorch's
  try:
    yield
  finally:
    object.__delattr__(owner, name)
