"""What a run found out: kept as data in the workdir, told in the report."""

import importlib.resources
import json
import pathlib
import time
from typing import Any

from rlt_jax import config as config_lib
from rlt_jax import files
from rlt_jax.evaluation import evaluator
from rlt_jax.reporting import provenance, report, statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.reporting.video import write_film
from rlt_jax.tasks.ethernet import scripted_expert as scripted_expert_lib

_PROMPT_EPISODES = 20
_OUTCOMES = ('time_out', 'success', 'force_limit', 'drop')


class Timer:
  """Adds the seconds of a `with` block to one entry of a table."""

  def __init__(self, table: dict[str, float], name: str):
    self._table, self._name = table, name

  def __enter__(self) -> None:
    self._start = time.perf_counter()

  def __exit__(self, *unused_exception) -> None:
    spent = time.perf_counter() - self._start
    self._table[self._name] = self._table.get(self._name, 0.0) + spent


class Record:
  """Evaluations as JSON on disk, so that a resumed run has them too."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self.data: dict[str, Any] = {}
    self.latest_metrics: dict[str, Any] = {}
    if path.exists():
      self.data = json.loads(path.read_text())

  def put(self, name: str, value: Any) -> None:
    """Stores a JSON value under a name."""
    self.data[name] = value
    files.write_atomically(self._path, json.dumps(self.data))

  def put_episodes(self, name: str, episodes: Episodes) -> None:
    """Stores episodes under a name."""
    self.put(name, statistics.to_plain(episodes))

  def episodes(self, name: str) -> Episodes:
    """Returns episodes stored under a name."""
    return statistics.from_plain(self.data[name])


def demonstrations() -> Episodes:
  """Returns the demonstrations the shipped VLA was trained on."""
  path = (
    importlib.resources.files('rlt_jax.vlas.pi_small') / 'assets' / 'ethernet'
  )
  return statistics.from_plain(json.loads((path / 'demos.json').read_text()))


def write(
  session: Any, seconds: dict[str, float], *, film: bool = True
) -> None:
  """Films, tries the wrong instruction, and writes the report's files.

  Args:
    session: a finished `run.Run`.
    seconds: wall clock by part, completed here.
    film: False leaves out the film and the wrong instruction.
  """
  config, record = session.config, session.record
  prompt_section = {}
  filmed = film and config.num_eval_videos > 0
  if filmed:
    with Timer(seconds, 'film_s'):
      _film(session)
  if film:
    with Timer(seconds, 'prompt_s'):
      prompt_section = _try_prompts(session)
  minutes = [*config.eval_at_minutes, config.minutes(config.num_env_steps)]
  along = [report.Evaluation(0.0, record.episodes('base'))] + [
    report.Evaluation(
      m, record.episodes(f'mean@{m:g}'), record.episodes(f'exploring@{m:g}')
    )
    for m in minutes
  ]
  diagnosis = {}
  if 'diagnosis' in record.data:
    diagnosis['after_warmup'] = record.data['diagnosis']
  if record.latest_metrics:
    found = session.cell.agent.diagnose(
      record.latest_metrics, session.reference_samples()
    )
    diagnosis['final'] = dict(found.numbers)
  data = report.ReportData(
    base=record.episodes('base'),
    final=record.episodes(f'mean@{minutes[-1]:g}'),
    robot_minutes=minutes[-1],
    outcomes=_OUTCOMES,
    demonstrations=demonstrations(),
    along=along,
    token=dict(session.cell.embedder.token_metrics),
    prompt=prompt_section,
    beta=diagnosis,
    config=json.loads(config_lib.to_json(config)),
    versions=provenance.versions(),
    wall_clock_s={name: round(s, 1) for name, s in seconds.items()},
    device=provenance.device(),
    commit=session.commit,
    command=session.command,
    film='film.gif' if filmed else '',
  )
  report.write_report(session.workdir, data)
  report.print_table(data)
  print(f'Report: {session.workdir / "report.md"}', flush=True)


def _film(session: Any) -> None:
  """Films the same starts before and after practice."""
  pairs = session.config.num_eval_videos
  clips = []
  for policy in (
    evaluator.base_policy(session.config.open_loop_steps),
    session.actor(False),
  ):
    episodes, states = session.evaluator.run(policy, pairs, film=pairs)
    batch = session.evaluator.sizes.large
    clips.append(
      evaluator.clips(states, episodes, session.cell.render, batch, _OUTCOMES)
    )
  write_film(session.workdir / 'film.gif', *clips)


def _try_prompts(session: Any) -> dict[str, Any]:
  """Runs the base policy with the other instruction on the same starts."""
  right = session.record.episodes('base').success[:_PROMPT_EPISODES]
  policy = evaluator.base_policy(session.config.open_loop_steps)
  wrong, _ = session.evaluator.run(
    policy, len(right), prompt=scripted_expert_lib.LIFT
  )
  section = {}
  for name, words, success in (
    ('right', scripted_expert_lib.INSERT, right),
    ('wrong', scripted_expert_lib.LIFT, wrong.success),
  ):
    section[f'{name}_instruction'] = words
    section[f'{name}_success'] = float(success.mean())
    section[f'{name}_episodes'] = len(success)
  return section
