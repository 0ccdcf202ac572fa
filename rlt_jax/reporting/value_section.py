"""The section of a report on what the critics are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlt_jax.reporting import statistics
from rlt_jax.reporting.report import Section

_NOTE = (
  'Moments of practice: the hand-over from the VLA to the actor, then every '
  'half robot minute (report.json has all of them). `episodes` ended since the '
  'moment before, with exploration noise; {driver} drove those of the first '
  'moment, and began some of those just after it. `Q / return` compares, '
  'on the newest replay rows, the smallest Q of the executed chunk with the '
  'discounted return that followed it, by the end of the episode: useful '
  'critics keep the two close and the ends apart. A time limit ends what is '
  'seen, not the return, so that Q may be larger there. '
  "`prefers actor` is the share of these rows where Q of the actor's mean is "
  "above Q of the VLA's chunk. `cosine` is that of the gradients of Q and of "
  "the squared distance to the reference, in the actor's params: 1 means that "
  'beta pulls back exactly where Q pushes, 0 that Q pushes aside.'
)
_ENDS = (
  ('success', 'success'), ('failure', 'failure'), ('time_out', 'time-out'),
)  # fmt: skip
_FIRST, _EVERY = 6, 5  # rows of the table: the first ones, then some


def section(q: Mapping[str, Sequence[Any]]) -> Section:
  """Returns the section with its table.

  Args:
    q: numbers by name, each a list over the moments; `definitions` explains
      them. At least 'robot_minutes', and what the agent could tell.
  """
  moments = [
    dict(zip(q, values, strict=True))
    for values in zip(*q.values(), strict=True)
  ]
  human = any(moment.get('human_rows') for moment in moments)
  driver = 'the VLA or a person' if human else 'the VLA'
  head = [
    'robot minutes', 'episodes', 'success',
    *(f'Q / return, {words}' for _, words in _ENDS),
    'prefers actor', 'Q actor / VLA', 'cosine',
  ]  # fmt: skip
  head += ['prefers human to actor'] if human else []
  shown = [
    moment
    for i, moment in enumerate(moments)
    if i < _FIRST or i % _EVERY == 0 or i == len(moments) - 1
  ]
  return Section(
    'Is Q useful?',
    f'{_NOTE.format(driver=driver)}\n\n{verdict(moments, driver)}',
    head,
    [_row(moment, human) for moment in shown],
  )


def verdict(
  moments: Sequence[Mapping[str, Any]], driver: str = 'the VLA'
) -> str:
  """Says whether the critics preferred the actor while it did worse.

  Args:
    moments: in order; `driver` drove before the first one.
    driver: who it was, in words.
  """
  first, *later = moments
  base, worst = first.get('success'), None
  for moment in later:
    success, share = moment.get('success'), moment.get('actor_above_reference')
    if None in (base, success, share) or success >= base or share <= 0.5:
      continue
    if worst is None or success < worst['success']:
      worst = moment
  if base is None:
    return 'No episode ended before the hand-over.'
  if worst is None:
    return (
      'At no moment did the critics prefer the actor while it succeeded less '
      f'often than {driver} ({base:.0%}) before the hand-over.'
    )
  low, high = statistics.difference_interval(_trials(worst), _trials(first))
  chance = ', so that it may be chance' if high >= 0.0 else ''
  return (
    f'At {worst["robot_minutes"]:.1f} min the critics preferred the actor in '
    f'{worst["actor_above_reference"]:.0%} of the states while it succeeded '
    f'less often: in {worst["success"]:.0%} of {worst["episodes"]} episodes '
    f'since the moment before, {driver} in {base:.0%} of {first["episodes"]} '
    f'before the hand-over. The difference is {100 * low:+.0f} to '
    f'{100 * high:+.0f} points (95 %){chance}. An evaluation there '
    '(`eval_at_minutes`) says it with more episodes and without noise.'
  )


def _trials(moment: Mapping[str, Any]) -> np.ndarray:
  """Returns the outcomes of a moment's episodes, bool [M]."""
  return np.arange(moment['episodes']) < round(
    moment['success'] * moment['episodes']
  )


def _row(moment: Mapping[str, Any], human: bool) -> list[str]:
  def number(name: str) -> str:
    value = moment.get(name)
    return '–' if value is None else f'{value:.2f}'

  def pair(one: str, other: str) -> str:
    return f'{number(one)} / {number(other)}'

  def share(name: str) -> str:
    value = moment.get(name)
    return '–' if value is None else f'{value:.0%}'

  episodes = moment.get('episodes')
  cells = [
    f'{moment["robot_minutes"]:.1f}',
    '–' if episodes is None else str(episodes),
    share('success'),
    *(pair(f'q_{name}', f'return_{name}') for name, _ in _ENDS),
    share('actor_above_reference'),
    pair('q_actor', 'q_reference'),
    number('cosine_params'),
  ]
  return [*cells, share('human_above_actor')] if human else cells
