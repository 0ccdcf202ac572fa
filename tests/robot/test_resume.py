"""Going on with a run that was killed; as a program in test_runtime.py."""

import contextlib

import numpy as np

from rlt_jax.robot import resume
from rlt_jax.robot.recording import episodes, segments
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.run_results import RunResults
from rlt_jax.types import Features
from tests.robot.fakes import BUNDLE, FakeRobot


def test_what_the_journal_has_of_a_killed_episode_is_counted(tmp_path, capsys):
  """9 steps in two recordings; stride 2, so 0, 2, 4 and 0, 2, 4 are needed."""
  journal = Journal(tmp_path / 'journal')
  log = episodes.EpisodeLog(journal)
  log.begin(policy_version=3, episode=0)
  for recording, num, observed in ((0, 4, (0, 2, 4)), (1, 5, (0, 4))):
    for _ in range(num):
      log.step(recording, segments.Step(np.zeros(3), np.zeros(3), 1))
    for step in observed:
      features = Features(*(np.zeros(n) for n in (6, 6, (4, 3), 3)))
      log.features(recording, step, features, late=step == 2)
  journal.close()
  RunResults(tmp_path).close()
  with contextlib.ExitStack() as stack:
    records = resume.open_records(
      tmp_path, '', BUNDLE, resume=True, stack=stack
    )
    (row,) = records.results.episodes
  assert (row['steps'], row['practice_steps']) == (9, 9)
  assert (row['late_queries'], row['missing_queries']) == (1, 1)
  assert row['cause'] == 'the program was killed'
  # All of the first recording, and of the second the step after the gap.
  said = '9 steps of them were cut short by a kill: 9 were driven, and 5 of'
  assert said in capsys.readouterr().out


def test_steps_that_waited_are_counted_as_in_an_episode_that_ended(tmp_path):
  """The program dies after the loop's last step, before the episode's end."""
  robot = FakeRobot(tmp_path / 'journal', time_limit=20)
  robot.vla.delay = 0.05  # a chunk lasts 0.08 s
  robot.run()
  record, progress = robot.loop.record, robot.controller.progress
  robot.journal.close()
  results = RunResults(tmp_path)
  with Journal(tmp_path / 'journal') as journal:
    steps, driven, _ = resume.add_killed(results, journal, BUNDLE)
  (row,) = results.episodes
  waited = record.sources['wait']
  assert waited > 3 and driven == len(robot.driven)
  assert row['steps'] == progress.steps == steps == driven + waited
  assert row['practice_steps'] == progress.practice_steps
  counted = {x: n for x, n in record.sources.items() if x != 'none'}
  assert results.by_mode['practice'].sources == counted
  results.close()


def test_steps_that_waited_before_the_first_one_are_counted(tmp_path):
  with Journal(tmp_path) as journal:
    log = episodes.EpisodeLog(journal)
    log.begin(episode=0, waited=2)
    log.step(0, segments.Step(np.zeros(3), np.zeros(3), 1))
    log.wait()
    log.end('success')
  (episode,) = episodes.read(tmp_path)
  assert (episode.num_steps, episode.waited) == (1, 3)
