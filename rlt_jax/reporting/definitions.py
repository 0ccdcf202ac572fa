"""What every number of a report means, with its unit.

The keys are the dotted paths in report.json. What leads with a group of
episodes (`base`, `final`, ...) is explained once, under its last name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

# Groups of episodes; each has the keys of `statistics.summarize`.
GROUPS = ('base', 'demonstrations', 'final', 'along', 'along.exploring')
# Not measured: settings, names and texts.
NOT_MEASURED = (
  'config', 'versions', 'command', 'commit', 'device', 'film',
)  # fmt: skip

EPISODES = {
  'episodes': 'finished episodes',
  'success': 'share of the episodes that succeeded, 0 to 1',
  'success_low': 'lower end of its 95 % Wilson interval, 0 to 1',
  'success_high': 'upper end of its 95 % Wilson interval, 0 to 1',
  'median_steps': 'control steps, median of the successful episodes',
  'median_low': 'control steps, lower end of its 95 % interval',
  'median_high': 'control steps, upper end of its 95 % interval',
  'mean_steps': 'control steps, mean of the successful episodes',
  'p10_steps': 'control steps, 10th percentile of the successful episodes',
  'p90_steps': 'control steps, 90th percentile of the successful episodes',
  'throughput_per_10min': 'successes per 10 minutes of control steps; failures '
  'take time, resets do not',
  'outcomes': 'episodes by how they ended',
}
TOKEN = {
  f'fve_{case}{suffix}': f'share of the variance of the image embeddings, at '
  f'most 1, that the decoder explains with {words}; 0 is as good as their mean'
  for suffix, hidden in (('', ''), ('_no_context', ' and no earlier token'))
  for case, words in (
    ('real', f"the frame's own token{hidden}"),
    ('shuffled', f"another frame's token{hidden}"),
    ('zero', f'zeros for the token{hidden}'),
  )
} | {
  'first_position_fve': 'fve_real at the first position, which has no context',
  'token_cosine': 'mean cosine of two centered tokens, -1 to 1',
  'effective_rank': 'dimensions that the tokens use (participation ratio)',
}
for _part, _unit, _what in (
  ('tip', 'm', 'translation of the tip'),
  ('turn', 'rad', 'rotation of the tip'),
):
  for _name, _words in (
    ('z_rl', 'the RL token'),
    ('mean_token', 'the mean image embedding'),
    ('joints', 'the joints'),
  ):
    TOKEN[f'probe_r2_{_part}_{_name}'] = (
      f'share of the variance, at most 1, of the remaining {_what} that a '
      f'linear map of {_words} explains'
    )
    TOKEN[f'probe_rmse_{_part}_{_name}'] = (
      f'{_unit}, rms error of that map, per axis'
    )
  TOKEN[f'probe_rmse_{_part}_constant'] = (
    f'{_unit}, rms error of a constant guess, per axis'
  )
_BETA = {
  'beta': 'weight of the squared distance to the reference (Eq. 5)',
  'reference_variance': "variance of the VLA's chunks at the same state, "
  'summed over steps and joints, normalized action units squared',
  'ratio': 'beta * E|a - ref|^2 / E[Q], no unit: the price of leaving the '
  'reference as a share of the value',
  'distance': 'E|a - ref|^2 / reference_variance, no unit: below 1 the actor '
  'imitates, tens are chunks that no demonstration has shown',
}
# Of `Agent.diagnose_values` of RLT; lists over moments of practice.
_Q = {
  'env_steps': 'control steps of practice before the moment',
  'robot_minutes': 'the same in robot minutes',
  'episodes': 'episodes of practice that ended since the moment before, or at '
  'the first one before it, driven by the VLA',
  'success': 'share of these that succeeded, 0 to 1',
  'rows': 'replay rows that were judged: every second of the newest 2048',
  'q_actor': "mean Q, the smallest of the critics, of the actor's mean chunk",
  'q_reference': 'mean Q of the reference chunk',
  'actor_above_reference': "share of the rows where Q of the actor's mean "
  'chunk is above that of the reference, 0 to 1',
  'human_rows': 'rows that a human drove',
  'human_above_actor': "share of these where Q of the human's chunk is above "
  "that of the actor's, 0 to 1",
  'human_above_reference': 'the same against the reference, of the rows whose '
  "reference is not the human's own chunk",
  'cosine_params': 'cosine of the gradients of Q and of the squared distance '
  "to the reference in the actor's params, -1 to 1: 1 is against beta's pull, "
  '0 aside, below 0 toward the reference',
  'cosine_action': "the same in the actor's chunk, mean over the rows",
  'gradient_ratio': '|gradient of Q| / |gradient of beta * distance| in the '
  "actor's params, no unit; 1 with a cosine of 1 is where the actor settles",
} | {
  f'{name}_{key}': text.format(words)
  for key, words in (
    ('success', 'a success'),
    ('failure', 'a failure'),
    ('time_out', 'a time limit'),
  )
  for name, text in (
    ('rows', 'judged rows of episodes that ended in {}'),
    ('q', 'mean Q of the executed chunk in these rows before {}'),
    ('return', 'mean discounted return in these rows, of what was executed '
     'until {}'),
  )
}  # fmt: skip
_WALL_CLOCK = {
  'compile_and_start_s': 's, compiling and the first round',
  'practice_s': 's, rounds of practice',
  'demonstrations_s': 's, demonstrations that were made again',
  'training_s': 's, training the VLA',
  'evaluation_s': 's, evaluations',
  'film_s': 's, the film',
  'prompt_s': 's, the test of another instruction',
}
_PROMPT = {
  f'{name}_{key}': text.format(words)
  for name, words in (('right', "the task's"), ('wrong', 'another'))
  for key, text in (
    ('instruction', '{} instruction to the VLA, which drives alone'),
    ('success', 'share of the episodes that succeeded with {} instruction'),
    ('episodes', 'episodes with {} instruction'),
  )
}
_QUANTILES = {
  f'{name}_{key}': text.format(words)
  for name, words in (
    ('late', 'time that a control step began after its moment'),
    ('io', 'time to read the arm and send a command'),
    ('inference_age', "age of the VLA's answer when a chunk begins"),
  )
  for key, text in (
    ('p50_s', 's, {}: median'),
    ('p99_s', 's, {}: 99th percentile'),
    ('worst_s', 's, {}: largest'),
    ('histogram', '{}: control steps by the upper end of a bin, s'),
  )
}
_LOOP = _QUANTILES | {
  'steps': 'control steps of the loop',
  'overruns': 'control steps that took longer than a period',
  'clock_jumps': 'jumps of the clock, each more than a period',
  'not_sent': 'control steps in which the arm held, no command was sent',
  'sources': 'control steps by who drove',
  'verdicts': 'control steps in which the arm held, by rule',
  'changed': 'control steps in which a limit changed a command, by joint',
  'updates_per_s': 'gradient updates of the critics per second of the '
  "learner's wall clock",
  'update_to_data': 'gradient updates of the critics per stored row',
  'priority': 'scheduling of the loop by the operating system',
  'stolen': "share of the processors' time that a hypervisor kept, 0 to 1",
  'by_mode': 'the same figures in each mode of the run',
}
_HUMAN = {
  'episodes': 'episodes that a person watched',
  'successes': 'of these, successes',
  'human_s': 's, time that a person drove',
  'presses': 'keys and buttons that a person pressed',
  'human_s_per_episode': 's of human driving per episode',
  'presses_per_episode': 'presses per episode',
  'human_s_per_success': 's of human driving per success',
  'presses_per_success': 'presses per success',
}
_RUN = {
  'count': 'episodes of the run, with and without a label',
  'outcomes': 'episodes by how they ended',
  'late_queries': 'queries of the VLA that were answered during a hold',
  'missing_queries': 'queries of the VLA that were never answered',
}
_PRACTICE = {
  'episodes': 'episodes that ended in practice, also those that the VLA or a '
  'person drove',
  'outcomes': 'these episodes by how they ended',
  'critic_updates': 'gradient updates of the critics',
  'vla_updates': 'gradient updates of the VLA',
}
DEFINITIONS: Mapping[str, str] = (
  EPISODES
  | {
    'robot_minutes': 'minutes of control steps of practice, all environments '
    'together, without resets',
    'control_hz': 'control steps per second',
    'share_faster_than_all': 'share of the final episodes that succeed in '
    'fewer steps than every demonstration, 0 to 1',
    'diverged_worlds': 'simulated worlds whose numbers were no longer finite; '
    'their episodes count as failed and are not learned from',
  }
  | {
    f'{group}.{name}': text
    for group, table in (
      ('token', TOKEN),
      ('prompt', _PROMPT),
      ('beta.after_warmup', _BETA),
      ('beta.final', _BETA),
      ('q', _Q),
      ('wall_clock_s', _WALL_CLOCK),
      ('loop', _LOOP),
      ('human', _HUMAN),
      ('practice', _PRACTICE),
      ('episodes', _RUN),
    )
    for name, text in table.items()
  }
)


def names(report: Mapping[str, Any]) -> Iterator[str]:
  """Yields the name in `DEFINITIONS` of each number of a report, once.

  Args:
    report: the contents of report.json; None and empty parts are left out.
  """
  yield from dict.fromkeys(_names(report, ''))


def rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Returns (name, unit and meaning) of the numbers of a report.

  Names without a definition, such as those of one's own agent, are left out.
  """
  return [(x, DEFINITIONS[x]) for x in names(report) if x in DEFINITIONS]


def _names(value: Any, path: str) -> Iterator[str]:
  if path in NOT_MEASURED or value is None or value == {} or value == []:
    return
  if path in GROUPS or (not path and isinstance(value, Mapping)):
    for item in value if isinstance(value, list) else [value]:
      for name, child in item.items():
        nested = f'{path}.{name}' if f'{path}.{name}' in GROUPS else name
        yield from _names(child, nested)
  elif path in DEFINITIONS and not (
    path == 'episodes' and isinstance(value, Mapping)
  ):
    yield path
  elif isinstance(value, Mapping):
    for name, child in value.items():
      yield from _names(child, f'{path}.{name}')
  else:
    yield path
