"""Goes on with a run that was ended: by Ctrl-C, a fault, a kill or a power cut.

Everything is in the run's folder: results of the episodes, journal, and the
bundle that it began with. An episode that was under way when the program was
killed is in the journal only; it is added to the results.
"""

import collections
import contextlib
import json
import pathlib
import time
from typing import NamedTuple

from rlt_jax import files
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.telemetry import EpisodeRecord
from rlt_jax.robot.episode import EpisodeResult
from rlt_jax.robot.outcomes import EpisodeOutcome
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.recording import episodes, journal_files
from rlt_jax.robot.recording.episodes import Episode
from rlt_jax.robot.recording.journal import Journal, JournalFullError
from rlt_jax.robot.recording.segments import observed_steps
from rlt_jax.robot.run_results import FILE, RunResults

RECORD = 'run.json'
_KILLED = 'the program was killed'


def check_folder(workdir: pathlib.Path, *, resume: bool) -> None:
  """Raises ValueError unless a run may begin, or go on, in a folder."""
  found = (workdir / FILE).exists()
  if found and not resume:
    raise ValueError(f'workdir must be new, or go on with --resume: {workdir}.')
  if resume and not found:
    raise ValueError(f'--resume needs a run, {FILE}, in {workdir}.')


def check_bundle(workdir: pathlib.Path, bundle: str) -> None:
  """Raises ValueError unless a run began with this bundle, a folder."""
  path = workdir / RECORD
  try:
    began = json.loads(path.read_text('utf-8'))['bundle']
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{path} must be a run's record: {error!r}.") from None
  if began != bundle_lib.digest(bundle):
    raise ValueError(
      f'bundle must be the one that the run in {workdir} began with: {bundle}.'
    )


class Records(NamedTuple):
  """Where a run is recorded."""

  journal: Journal
  results: RunResults


class Killed(NamedTuple):
  """Control steps of an episode that was under way when the program was killed.

  steps: of its critical phase. driven: those that did not wait for a chunk.
  kept: those of the driven that can be learned from.
  """

  steps: int
  driven: int
  kept: int


def open_records(
  workdir: pathlib.Path,
  bundle: str,
  spec: BundleSpec,
  *,
  resume: bool,
  stack: contextlib.ExitStack,
) -> Records:
  """Opens journal and results of a run; says what a resumed one has.

  Args:
    workdir: of the run; it exists.
    bundle: folder of the bundle.
    spec: of the bundle.
    resume: go on with what is there.
    stack: closes them.

  Raises:
    LockedError: another process writes there.
    JournalError, ValueError: a file is damaged, or the disk is full.
  """
  journal = stack.enter_context(Journal(workdir / 'journal'))
  if not resume:
    record = json.dumps({'bundle': bundle_lib.digest(bundle)}, indent=2)
    files.write_atomically(workdir / RECORD, record + '\n')
  results = RunResults(workdir)
  stack.callback(results.close)
  if resume:
    killed = add_killed(results, journal, spec)
    if full := results.flush():
      raise JournalFullError(full)
    minutes = practice_steps(results) / spec.control_hz / 60.0
    print(
      f'Going on after {len(results.episodes)} episodes and {minutes:.1f} '
      f'minutes of practice; {killed.steps} steps of them were cut short by a '
      f'kill: {killed.driven} were driven, and {killed.kept} of these can be '
      'learned from.',
      flush=True,
    )
  return Records(journal, results)


def add_killed(
  results: RunResults, journal: Journal, spec: BundleSpec
) -> Killed:
  """Adds the episode that was under way when the program was killed.

  Its steps are those that were driven and those that waited for a chunk, as in
  an episode that ended. How late they were, and how long the arm held, is not
  in the journal.

  Args:
    results: of the run.
    journal: just opened, so that what was open is closed.
    spec: of the bundle.

  Returns:
    What it had, or zeros without such an episode.
  """
  killed = _newest(journal.folder)
  if killed is None or killed.begin['episode'] != len(results.episodes):
    return Killed(0, 0, 0)
  stride = spec.replay_stride
  unanswered = [
    set(observed_steps(len(x.steps), stride)) - x.features.keys()
    for x in killed.recordings
  ]
  record = _record(killed)
  total = practice_steps(results) + record.steps
  results.add(
    EpisodeResult(
      mode='practice',
      outcome=killed.outcome or EpisodeOutcome.HOLD,
      steps=record.steps,
      cause=_KILLED,
      human_s=0.0,
      presses=0,
      late_queries=sum(len(x.late) for x in killed.recordings),
      missing_queries=sum(map(len, unanswered)),
    ),
    record,
    chunks={},
    robot_minutes=total / spec.control_hz / 60.0,
    practice_steps=total,
    policy_version=killed.begin['policy_version'],
    policy_age_s=None,
    written=time.time(),
  )
  parts = episodes.learnable_parts(killed, stride)
  kept = sum(len(x.steps) for x in parts)
  return Killed(record.steps, killed.num_steps, kept)


def _record(killed: Episode) -> EpisodeRecord:
  """Returns what the journal has of the loop's record of an episode."""
  steps = [step for x in killed.recordings for step in x.steps]
  record = EpisodeRecord(len(steps[0].command))
  record.steps = len(steps) + killed.waited
  sources = [CommandSource.of_row(x.source) for x in steps]
  sources += [CommandSource.WAIT] * killed.waited
  record.sources = dict(collections.Counter(map(str, sources)))
  return record


def practice_steps(results: RunResults) -> int:
  """Returns the control steps of practice so far."""
  return results.episodes[-1]['practice_steps'] if results.episodes else 0


def _newest(folder: pathlib.Path) -> Episode | None:
  """Returns the last episode of a journal that has steps."""
  for entry in reversed(journal_files.files(folder)):
    for episode in episodes.read(folder, entry.first - 1):
      if episode.num_steps:
        return episode
  return None
