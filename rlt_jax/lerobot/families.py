"""The kinds of policies that are served, and how each is asked.

A kind is a function from LeRobot's policy to (batch, noise) -> `tap.Query`. One
of your own is given as 'module:function'; it may reorder tokens, so that those
of the cameras come first.
"""

from collections.abc import Callable
from typing import Any

from rlt_jax import plugins
from rlt_jax.lerobot import tap

Query = Callable[[dict[str, Any], Any], tap.Query]


def open_smolvla(policy: Any) -> Query:
  """Returns the query of a SmolVLA: images, text, one state token."""
  vlm = policy.model.vlm_with_expert
  taps = tap.Taps(vlm.get_vlm_model().text_model.norm, policy.model, vlm)
  return tap.make_query(policy, taps)


def open_pi(policy: Any) -> Query:
  """Returns the query of a π0 or π0.5: images, then text."""
  vlm = policy.model.paligemma_with_expert
  taps = tap.Taps(vlm.paligemma.model.language_model.norm, policy.model, vlm)
  return tap.make_query(policy, taps)


SHIPPED = {
  'smolvla': f'{__name__}:open_smolvla',
  'pi0': f'{__name__}:open_pi',
  'pi05': f'{__name__}:open_pi',
}


def load(kind: str, adapter: str = '') -> Callable[[Any], Query]:
  """Returns the function of a kind of policy.

  Args:
    kind: LeRobot's `type` of the policy.
    adapter: 'module:function' in place of the shipped one; empty for that.

  Raises:
    ValueError: a kind without an adapter, or no such function.
  """
  if not adapter and kind not in SHIPPED:
    raise ValueError(
      f'The policy must be one of {sorted(SHIPPED)}, or have an adapter, '
      f'--adapter=module:function, see docs/lerobot.md: {kind!r}.'
    )
  return plugins.load_object(
    adapter or kind, shipped=SHIPPED, what='An adapter of a policy'
  )
