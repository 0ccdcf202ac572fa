"""What a row must show before its figures may be believed.

A baseline that does not start where it should, or whose numbers are no longer
finite, says nothing about the method. Each gate answers from finished runs; a
row that fails one is reported as such and stays in the table.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any, NamedTuple

import numpy as np

from rlt_jax import files
from rlt_jax.comparison import start_gates, tuned_gates
from rlt_jax.comparison.rows import Row
from rlt_jax.comparison.start_gates import Start
from rlt_jax.comparison.verdict import Verdict
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.reporting import pooling
from rlt_jax.reporting.metrics import read_metrics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training.config import PracticeConfig

# Fewer say too little about a success rate.
MIN_EPISODES = 20
_OF_PRACTICE = ('stays_finite', 'leaves_warmup')
DIVERGED_FILE = 'diverged.json'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runs:
  """The runs of a row.

  config: of the row. policy: whose figures count, see `Row`. finished: folders
  of the seeds that reached the end. diverged: folders of those whose numbers
  were no longer finite.
  open_start: () -> what the gates of the start need; compiles.
  """

  config: PracticeConfig
  policy: str
  finished: Sequence[pathlib.Path]
  diverged: Sequence[pathlib.Path]
  open_start: Callable[[], Start]


class Gate(NamedTuple):
  """rule: in words. check: runs -> verdict. of_start: needs no finished run."""

  rule: str
  check: Callable[[Runs], Verdict]
  of_start: bool = False


def check(row: Row, runs: Runs) -> dict[str, dict[str, Any]]:
  """Returns name of a gate -> its rule, whether it is passed, and its numbers.

  Args:
    row: names the gates, beside those of every row.
    runs: of the row.

  Raises:
    ValueError: a gate that cannot be computed, by name.
  """
  found = {}
  for name in names(row):
    gate = GATES[name]
    if not gate.of_start and not (runs.finished or runs.diverged):
      raise ValueError(
        f'The gate {name!r} of the row {row.name!r} needs a finished run: none.'
      )
    try:
      verdict = gate.check(runs)
    except (KeyError, ValueError) as error:
      raise ValueError(
        f'The gate {name!r} of the row {row.name!r} cannot be computed: {error}'
      ) from error
    found[name] = {'rule': gate.rule} | verdict._asdict()
  return found


def names(row: Row) -> tuple[str, ...]:
  """Returns the names of a row's gates."""
  # Where the VLA itself is trained, no agent has to take over from it.
  of_all = ('stays_finite',) if row.finetuning else _OF_PRACTICE
  return (*of_all, *row.gates)


def check_settings(row: Row, config: PracticeConfig) -> None:
  """Raises ValueError if a gate of the row cannot be computed later.

  Args:
    row: names the gates.
    config: of its runs.
  """
  if row.gates and config.num_final_episodes < MIN_EPISODES:
    raise ValueError(
      f'The gates {", ".join(row.gates)} of the row {row.name!r} need '
      f'num_final_episodes of at least {MIN_EPISODES}: '
      f'{config.num_final_episodes}.'
    )


def _stays_finite(runs: Runs) -> Verdict:
  numbers: dict[str, Any] = {
    'finished': len(runs.finished),
    'diverged': [
      files.read_json(folder / DIVERGED_FILE)['error']
      for folder in runs.diverged
    ],
  }
  return Verdict(not runs.diverged, numbers)


def _leaves_warmup(runs: Runs) -> Verdict:
  phases = []
  for folder in runs.finished:
    if not (rows := read_metrics(folder)):
      raise ValueError(f'{folder} has no metrics.')
    phases.append(rows[-1]['phase'])
  passed = bool(phases) and all(phase == 'practice' for phase in phases)
  return Verdict(passed, {'phases_at_the_end': phases})


def _values_are_returns(runs: Runs) -> Verdict:
  """Compares Q with the returns of the episodes that end in the same time."""
  gaps = []
  for folder in runs.finished:
    rows = [x for x in read_metrics(folder) if x.get('q_mean') is not None]
    if not rows:
      raise ValueError(f'{folder} has no q_mean in its metrics.')
    last = rows[-max(1, len(rows) // 10) :]
    gaps.append({
      'q_mean': sum(x['q_mean'] for x in last) / len(last),
      'success': sum(x.get('success', 0.0) for x in last) / len(last),
    })  # fmt: skip
  # A reward of 1 at most once: no value can be above the share of successes.
  passed = all(gap['q_mean'] <= gap['success'] + 0.1 for gap in gaps)
  return Verdict(bool(gaps) and passed, {'seeds': gaps})


def _not_below_base(runs: Runs) -> Verdict:
  if not runs.finished:
    return Verdict(False, {'finished': 0})
  # The VLA of the evaluations runs more steps a query than practice does.
  episodes = runs.open_start().run(
    evaluator_lib.base_policy(runs.config.chunk_size)
  )
  base, final = float(np.mean(episodes.success)), _final(runs)
  return Verdict(
    final['success_high'] >= base, {'base': base, 'final': final['success']}
  )


def _reaches_80(runs: Runs) -> Verdict:
  if not runs.finished:
    return Verdict(False, {'finished': 0})
  final = _final(runs)
  return Verdict(final['success'] > 0.8, {'final': final['success']})


def _values_match_base(runs: Runs) -> Verdict:
  """Compares Q at the end of the warm-up with the returns of the VLA."""
  seeds = []
  start = runs.open_start()
  # In the warm-up the VLA is asked again after each chunk.
  episodes = start.run(evaluator_lib.base_policy(runs.config.chunk_size))
  wanted = mean_return(episodes, runs.config.gamma)
  for folder in runs.finished:
    rows = [
      x
      for x in read_metrics(folder)
      if x['phase'] == 'warm-up' and x.get('q_mean') is not None
    ]
    if not rows:
      raise ValueError(f'{folder} made no update in the warm-up.')
    seeds.append({'q_mean': rows[-1]['q_mean'], 'mean_return': wanted})
  passed = all(
    0.5 * x['mean_return'] <= x['q_mean'] <= 2.0 * x['mean_return']
    for x in seeds
  )
  return Verdict(bool(seeds) and passed, {'seeds': seeds})


def mean_return(episodes: Episodes, gamma: float) -> float:
  """Returns the mean discounted return over all control steps of episodes.

  Args:
    episodes: at least one; the reward is 1 at the last step of a success.
    gamma: discount of a control step.
  """
  # From the last step on it is 1, from the one before gamma, and so on.
  sums = [
    float(np.sum(gamma ** np.arange(steps))) * bool(success)
    for success, steps in zip(episodes.success, episodes.steps, strict=True)
  ]
  return sum(sums) / float(np.sum(episodes.steps))


def _final(runs: Runs) -> Mapping[str, Any]:
  """Returns the figures of the pooled final policies."""
  pooled = pooling.pool_seeds('row', runs.finished)
  return pooling.along(pooled, runs.policy)[-1][1]


def _of_start(check: Callable[[Start], Verdict]) -> Callable[[Runs], Verdict]:
  return lambda runs: check(runs.open_start())


GATES: Mapping[str, Gate] = {
  'stays_finite': Gate(
    'every loss and parameter is finite to the end', _stays_finite
  ),
  'leaves_warmup': Gate(
    'the agent drives at the end, not still the VLA', _leaves_warmup
  ),
  'values_are_returns': Gate(
    'mean Q of the last tenth of practice is at most 0.1 above the success '
    'rate there, the largest possible mean return',
    _values_are_returns,
  ),
  'not_below_base': Gate(
    "the final success rate's 95 % interval reaches the rate of the VLA with "
    'the same chunks',
    _not_below_base,
  ),
  'starts_at_base': Gate(
    'before any update the success rate is that of the VLA with the same '
    'chunks: the 95 % interval of the difference contains 0',
    _of_start(start_gates.starts_at_base),
    of_start=True,
  ),
  'noise_is_base': Gate(
    'with the noise of the warm-up the success rate is at most 0.1 below that '
    'of the VLA with the same chunks',
    _of_start(start_gates.noise_is_base),
    of_start=True,
  ),
  'noise_steers': Gate(
    'what the latent chooses spreads the executed chunks by at least a tenth '
    'of their spread with independent noise',
    _of_start(start_gates.noise_steers),
    of_start=True,
  ),
  'values_match_base': Gate(
    "at the end of the warm-up mean Q is half to twice the VLA's mean "
    'discounted return over the control steps of an evaluation with the same '
    'chunks',
    _values_match_base,
  ),
  'enough_collected': Gate(
    'there was enough to train on in the last round',
    lambda runs: tuned_gates.enough_collected(runs.finished),
  ),
  'loss_falls': Gate(
    'the flow loss on held-out frames of what was collected falls',
    lambda runs: tuned_gates.loss_falls(runs.finished),
  ),
  'keeps_demonstrations': Gate(
    'the flow loss on held-out demonstrations is at most 1.1 times that before',
    lambda runs: tuned_gates.keeps_demonstrations(runs.finished),
  ),
  'value_ranks': Gate(
    "Spearman's correlation of value and return over the frames of held-out "
    'episodes is above 0.5 in the last round',
    lambda runs: tuned_gates.value_ranks(runs.finished),
  ),
  'not_below_start': Gate(
    "the final success rate's 95 % interval reaches the rate of the VLA before "
    'training, asked as often',
    lambda runs: tuned_gates.not_below_start(runs.finished, runs.policy),
  ),
  'reaches_80': Gate(
    'the final success rate is above 0.8, so that the learner works at all',
    _reaches_80,
  ),
}
