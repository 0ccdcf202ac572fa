"""Writes the report of a finished run, with video and prompt test."""

import json
from typing import Any

from rlt_jax import config as config_lib
from rlt_jax.evaluation import evaluator
from rlt_jax.reporting import (
  metrics,
  provenance,
  report,
  statistics,
  value_section,
)
from rlt_jax.reporting.video import write_film
from rlt_jax.training import value_moments
from rlt_jax.training.experiment import Experiment, Timer

_PROMPT_EPISODES = 20


def write(
  experiment: Experiment, seconds: dict[str, float], *, film: bool = True
) -> None:
  """Makes the video, tests a wrong instruction, and writes the report.

  Args:
    experiment: a finished run.
    seconds: wall-clock seconds by part; the parts done here are added.
    film: False leaves out the video and the wrong instruction.
  """
  config, record = experiment.config, experiment.record
  prompt = {}
  if filmed := film and config.num_eval_videos > 0:
    experiment.print_line(
      'Filming the same start states before and after practice; takes about '
      'a quarter of a minute on two cores.'
    )
    with Timer(seconds, 'film_s'):
      _film(experiment)
  if film:
    with Timer(seconds, 'prompt_s'):
      prompt = _try_prompts(experiment)
  minutes = [m for m, _ in experiment.eval_schedule()]
  along = [
    report.Evaluation(
      m, record.episodes(f'mean@{m:g}'), record.episodes(f'exploring@{m:g}')
    )
    for m in minutes
  ]
  q = value_moments.columns(experiment)
  rows = metrics.read_metrics(experiment.workdir)
  person, practice = _person(experiment), _practice(experiment)
  extra = {'q': q, 'human': person, 'practice': practice}
  data = report.ReportData(
    base=record.episodes('base'),
    final=along[-1].mean,
    robot_minutes=minutes[-1],
    control_hz=experiment.shared.setup.task.spec.control_hz,
    outcomes=experiment.shared.setup.task.spec.outcomes,
    demonstrations=experiment.shared.demonstrations,
    diverged_worlds=sum(row.get('diverged_worlds', 0) for row in rows),
    along=[report.Evaluation(0.0, record.episodes('base')), *along],
    token=dict(experiment.shared.setup.embedder.token_metrics),
    prompt=prompt,
    beta=_diagnosis(experiment),
    config=json.loads(config_lib.to_json(config)),
    versions=provenance.versions(),
    wall_clock_s={name: round(s, 1) for name, s in seconds.items()},
    device=provenance.device(),
    commit=experiment.commit,
    command=experiment.command,
    film='film.gif' if filmed else '',
    extra={name: part for name, part in extra.items() if part},
    sections=(
      *((value_section.section(q),) if q else ()),
      *(
        (report.Section('Person', rows=list(person.items())),) if person else ()
      ),
    ),
  )
  report.write_report(experiment.workdir, data)
  report.print_table(data)
  print(f'Report: {experiment.workdir / "report.md"}', flush=True)


def _practice(experiment: Experiment) -> dict[str, Any]:
  """Returns how the episodes of practice ended, and its updates."""
  progress, spec = experiment.progress, experiment.shared.setup.task.spec
  outcomes = statistics.count_outcomes(progress.episodes, spec.outcomes)
  return {
    'episodes': len(progress.episodes.success),
    'outcomes': outcomes,
    'critic_updates': progress.critic_updates,
  }


def _person(experiment: Experiment) -> dict[str, float]:
  """Returns how long a simulated person drove; empty without one."""
  if not experiment.config.human.present:
    return {}
  steps = experiment.progress.human_steps
  return {'human_s': steps / experiment.shared.setup.task.spec.control_hz}


def _diagnosis(experiment: Experiment) -> dict[str, Any]:
  """Returns the agent's numbers after the warm-up and at the end."""
  found = {}
  if 'diagnosis' in experiment.record.data:
    found['after_warmup'] = experiment.record.data['diagnosis']
  if experiment.latest_metrics:
    final = experiment.diagnose(experiment.latest_metrics)
    found |= {'final': dict(final.numbers)} if final else {}
  return found


def _film(experiment: Experiment) -> None:
  """Makes a video of the same start states before and after practice."""
  pairs, shared = experiment.config.num_eval_videos, experiment.shared
  clips = []
  for policy in (
    evaluator.base_policy(experiment.config.open_loop_steps),
    experiment.policy(explore=False),
  ):
    episodes, states = shared.stop.call(
      shared.evaluator.run, policy, pairs, film=pairs
    )
    clips.append(
      evaluator.clips(
        states,
        episodes,
        shared.setup.task.render,
        shared.evaluator.sizes.large,
        shared.setup.task.spec.outcomes,
        shared.setup.task.view,
      )
    )
  write_film(
    experiment.workdir / 'film.gif',
    *clips,
    control_hz=shared.setup.task.spec.control_hz,
  )


def _try_prompts(experiment: Experiment) -> dict[str, Any]:
  """Runs the base policy with another instruction on the same starts.

  Returns:
    The report's section; empty for a task without another instruction, or where
    the server of the VLA does not answer to it.
  """
  spec = experiment.shared.setup.task.spec
  others = spec.other_instructions
  if not others:
    return {}
  shared = experiment.shared
  right = experiment.record.episodes('base').success[:_PROMPT_EPISODES]
  experiment.print_line(
    f'Trying another instruction in {len(right)} episodes; takes about a '
    'quarter of a minute on two cores.'
  )
  try:
    wrong, _ = shared.stop.call(
      shared.evaluator.run,
      evaluator.base_policy(experiment.config.open_loop_steps),
      len(right),
      prompt=others[0],
    )
  except ConnectionError as error:  # the report needs no answer of the server
    experiment.print_line(f'It was not tried: {error}')
    return {}
  section = {}
  for name, instruction, success in (
    ('right', spec.instruction, right),
    ('wrong', others[0], wrong.success),
  ):
    section[f'{name}_instruction'] = instruction
    section[f'{name}_success'] = float(success.mean())
    section[f'{name}_episodes'] = len(success)
  return section
