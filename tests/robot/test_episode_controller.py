"""The episode controller, on fakes."""

from concurrent import futures
import functools

import numpy as np
import pytest

from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.operator import handover
from rlt_jax.robot.operator.events import Event, Kind
from rlt_jax.robot.operator.scripted import Scripted, ScriptedTeleoperator
from rlt_jax.robot.recording import episodes
from tests.robot.fakes import BUNDLE, FakeRobot, PERIOD, reference


def _read(robot):
  return list(episodes.read(robot.folder))


def _recordings(robot):
  (episode,) = _read(robot)
  return episode.recordings


def test_every_step_and_every_observation_is_recorded(tmp_path):
  robot = FakeRobot(tmp_path)
  result = robot.episode()
  assert (result.outcome, result.steps) == ('time_out', 40)
  assert result.presses == 0
  (episode,) = _read(robot)
  assert episode.outcome == 'time_out'
  assert episode.begin == {
    'bundle': '',
    'policy_version': 7,
    'episode': 0,
    'waited': 0,
  }
  (recording,) = episode.recordings
  count = len(recording.steps)
  # One step in five waits for the answer to where the last chunk ended.
  assert count == len(robot.driven) == 32
  assert sorted(recording.features) == list(range(0, count + 1, 2))
  assert result.missing_queries == 0
  for row, step in zip(recording.steps, robot.driven, strict=True):
    np.testing.assert_array_equal(row.command, step.executed)
    np.testing.assert_array_equal(row.measured, step.measured)
  seen = recording.features[22]
  np.testing.assert_allclose(seen.pose, recording.steps[22].measured, atol=1e-6)
  query = next(x for x in robot.vla.queries if x.stamp.step == 22)
  np.testing.assert_allclose(
    seen.proprio, (query.proprio - 0.1) / 2.0, rtol=1e-5
  )
  np.testing.assert_array_equal(seen.z_rl, 22)
  assert seen.reference.shape == (BUNDLE.chunk_size, 3)


def test_the_arm_stays_where_its_chunk_ended_until_the_answer(tmp_path):
  robot = FakeRobot(tmp_path, time_limit=20)
  robot.vla.delay = 0.05
  robot.episode()
  first = next(
    i for i, x in enumerate(robot.sent) if x.source == CommandSource.WAIT
  )
  last, *waits = robot.sent[first - 1 : first + 3]
  assert [x.source for x in waits] == [CommandSource.WAIT] * 3
  moved = np.abs(last.executed - waits[0].measured)
  assert moved[0] > 1e-4  # it lags behind what it was told
  for wait in waits:
    np.testing.assert_array_equal(
      wait.executed[[0, 2]], waits[0].measured[[0, 2]]
    )
    assert wait.executed[1] == last.executed[1]  # idle: told as before


def test_a_delay_that_is_kept_needs_no_wait(tmp_path):
  robot = FakeRobot(
    tmp_path, time_limit=20, exploration_std=0.0, inference_delay=2
  )
  robot.vla.delay = 0.03
  robot.episode('evaluation')
  first = robot.sent.index(robot.driven[0])
  assert robot.sent[first:] == robot.driven
  # The second chunk: seen two steps before it, its reference from there on.
  begins = robot.driven[BUNDLE.chunk_size]
  query = next(
    x for x in robot.vla.queries if x.num_steps == BUNDLE.chunk_size - 2
  )
  assert begins.time == pytest.approx(query.query_time + 2 * PERIOD)
  policy = robot.controller.chunk_policy.policy
  chunk = policy.act(np.zeros(6), query.proprio, reference(2))
  planned = policy.decode(chunk, query.pose)
  np.testing.assert_allclose(begins.wanted, planned[0], atol=1e-6)


def test_the_chunk_is_the_actors_with_one_draw_of_noise(tmp_path):
  robot = FakeRobot(tmp_path / 'a', time_limit=4)
  robot.vla.delay = 0.0
  robot.episode()
  other = FakeRobot(tmp_path / 'b', time_limit=4, exploration_std=0.0)
  other.vla.delay = 0.0
  other.episode()
  noisy = np.stack([x.wanted for x in robot.sent])
  mean = np.stack([x.wanted for x in other.sent])
  query = other.vla.queries[0]
  policy = other.controller.chunk_policy.policy
  chunk = policy.act(np.zeros(6), query.proprio, reference(0))
  planned = policy.decode(chunk, query.pose)
  # From its first step, however long the answer took.
  np.testing.assert_allclose(mean[:4], planned, atol=1e-9)
  draw = (noisy - mean)[:4] / BUNDLE.action_scale
  np.testing.assert_allclose(draw, draw[:1].repeat(4, 0), atol=1e-6)
  assert np.abs(draw[0, [0, 2]]).min() > 1e-3
  assert draw[0, 1] == 0.0  # idle


def test_noise_is_drawn_per_step_where_the_bundle_says_so(tmp_path):
  wanted = []
  for std in (0.3, 0.0):
    robot = FakeRobot(
      tmp_path / f'{std}',
      time_limit=4,
      exploration_std=std,
      exploration_noise='per_step',
    )
    robot.vla.delay = 0.0
    robot.episode()
    wanted.append(np.stack([x.wanted for x in robot.sent[:4]]))
  noise = (wanted[0] - wanted[1]) / BUNDLE.action_scale
  assert np.abs(np.diff(noise[:, [0, 2]], axis=0)).min() > 1e-3
  np.testing.assert_array_equal(noise[:, 1], 0.0)  # frozen


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_observations_are_recorded_at_the_bundles_stride(tmp_path, stride):
  robot = FakeRobot(tmp_path, replay_stride=stride)
  robot.vla.delay = 0.0
  assert robot.episode().missing_queries == 0
  (recording,) = _recordings(robot)
  assert sorted(recording.features) == list(
    range(0, len(recording.steps) + 1, stride)
  )


def test_an_evaluation_neither_explores_nor_is_recorded(tmp_path):
  runs = []
  for sigma in (0.3, 0.0):
    robot = FakeRobot(tmp_path / f'{sigma}', exploration_std=sigma)
    assert robot.episode('evaluation').steps == 40
    assert not _read(robot) and robot.controller.progress.practice_steps == 0
    runs.append(np.stack([x.wanted for x in robot.sent]))
  np.testing.assert_array_equal(*runs)


def test_the_vla_warms_up_and_the_actor_follows(tmp_path):
  robot = FakeRobot(tmp_path, vla_warmup_steps=20)
  robot.episode()
  tags = [x.source for x in _recordings(robot)[0].steps]
  change = tags.index(1)
  assert 16 <= change <= 20 and set(tags[change:]) == {1}
  wanted = robot.sent[10].wanted - robot.sent[9].wanted
  np.testing.assert_allclose(wanted, 0.0, atol=1e-3)  # it holds its reference


def test_the_base_policy_is_the_vla_alone(tmp_path):
  robot = FakeRobot(tmp_path)
  robot.episode('base')
  assert {x.source for x in robot.sent} == {'vla'}
  assert not _read(robot)


def test_success_is_the_last_step(tmp_path):
  robot = FakeRobot(tmp_path, script=[(0.7, Kind.SUCCESS)])
  result = robot.episode()
  (episode,) = _read(robot)
  assert result.outcome == episode.end == 'success'
  assert 30 < result.steps < 36
  (part,) = episodes.learnable_parts(episode, 2)
  assert len(part.steps) == len(robot.driven) and part.end == 'success'
  assert result.presses == 1


def test_a_query_that_is_answered_too_late_is_retried(tmp_path):
  robot = FakeRobot(tmp_path, vla_warmup_steps=1000)
  robot.vla.delay = 0.09
  result = robot.episode()
  (recording,) = _recordings(robot)
  observed = list(range(0, len(recording.steps) + 1, 2))
  assert sorted(recording.features) == observed and result.missing_queries == 0
  assert result.late_queries == len(recording.late) > 2
  assert len(observed) - len(recording.late) > 2
  for step, features in recording.features.items():
    np.testing.assert_array_equal(features.z_rl, step)


def test_before_the_critical_phase_the_vla_drives_unrecorded(tmp_path):
  robot = FakeRobot(
    tmp_path,
    script=[(0.3, Kind.ENTER_CRITICAL)],
    start_in_critical_phase=False,
  )
  result = robot.episode()
  (recording,) = _recordings(robot)
  assert result.steps == 40
  before = len(robot.driven) - len(recording.steps)
  assert before > 10
  assert {x.source for x in robot.driven[:before]} == {'vla'}
  assert recording.steps[-1].source == 1
  assert 0 in recording.features and result.missing_queries == 0


def test_a_person_takes_over_and_gives_back(tmp_path):
  target = np.array([0.05, 0.0, 0.012])
  robot = FakeRobot(
    tmp_path,
    time_limit=80,
    device=functools.partial(
      ScriptedTeleoperator,
      [(0.5, Kind.TAKEOVER), (1.2, Kind.RELEASE)],
      pose=lambda s: target,
    ),
  )
  result = robot.episode()
  (episode,) = _read(robot)
  parts = episode.recordings
  assert episode.outcome == 'time_out' and len(parts) == 3
  assert {x.source for x in parts[1].steps} == {2}
  assert episode.num_steps == len(robot.driven)
  assert result.steps == 80
  learned = episodes.learnable_parts(episode, 2)
  assert [len(x.steps) for x in learned] == [len(x.steps) for x in parts]
  np.testing.assert_allclose(parts[1].steps[-1].command, target)
  assert result.human_s == pytest.approx(0.7, abs=3 * PERIOD)


def test_a_discarded_episode_is_not_learned_from(tmp_path):
  robot = FakeRobot(tmp_path, script=[(0.4, Kind.RERECORD)])
  assert robot.episode().outcome == 'rerecord'
  assert _read(robot)[0].end is None


@pytest.mark.parametrize('kind', [Kind.RERECORD, Kind.ABORT])
def test_what_came_before_a_takeover_is_discarded_too(tmp_path, kind):
  target = np.array([0.05, 0.0, 0.012])
  robot = FakeRobot(
    tmp_path,
    time_limit=200,
    device=functools.partial(
      ScriptedTeleoperator,
      [(0.5, Kind.TAKEOVER), (1.2, Kind.RELEASE), (2.2, kind)],
      pose=lambda s: target,
    ),
  )
  assert robot.episode().outcome == kind.value
  (episode,) = _read(robot)
  assert len(episode.recordings) == 3
  assert episode.num_steps == len(robot.driven)
  assert episodes.learnable_parts(episode, 2) == []


@pytest.mark.parametrize('kind', [Kind.SUCCESS, Kind.FAILURE])
@pytest.mark.parametrize('vla_s', [0.05, 0.3])
def test_no_label_is_lost_after_a_release(tmp_path, kind, vla_s):
  target = np.array([0.05, 0.0, 0.012])
  for i, after_s in enumerate(np.arange(0.0, 0.5, 0.04)):
    robot = FakeRobot(
      tmp_path / f'{i}',
      time_limit=200,
      answer_timeout_s=10.0,
      device=functools.partial(
        ScriptedTeleoperator,
        [(0.5, Kind.TAKEOVER), (1.1, Kind.RELEASE), (1.1 + after_s, kind)],
        pose=lambda s: target,
      ),
    )
    at_step = {10: vla_s}

    def slow_down(step, robot=robot, at_step=at_step):
      del step
      robot.vla.delay = at_step.get(len(robot.steps), robot.vla.delay)

    robot.on_step = slow_down
    assert robot.episode().outcome == kind.value
    (episode,) = _read(robot)
    assert episode.outcome == kind.value
    parts = episodes.learnable_parts(episode, 2)
    assert [x.end for x in parts][-1] == kind.value, after_s
    assert sum(len(x.steps) for x in parts) == len(robot.driven)


class _SaysAtTheLimit(Scripted):
  """Says a label in the step in which the time limit passes, a bit later."""

  def poll(self):
    now = self._clock.now()
    if self.robot.controller.progress.steps < 40:
      return []
    return [Event(Kind.SUCCESS, now + 1e-4, self.name)]


def test_a_label_in_the_step_of_the_time_limit_counts(tmp_path):
  robot = FakeRobot(tmp_path, device=functools.partial(_SaysAtTheLimit, []))
  robot.device.robot = robot
  assert robot.episode().outcome == 'success'
  assert _read(robot)[0].end == 'success'


def test_episodes_follow_each_other(tmp_path):
  robot = FakeRobot(tmp_path)
  assert [robot.episode().steps for _ in range(3)] == [40] * 3
  assert robot.controller.progress.practice_steps == 120
  assert len(_read(robot)) == 3
  assert robot.operator.mode is handover.Mode.ENDED


def test_an_attempt_must_have_a_mode(tmp_path):
  with pytest.raises(ValueError, match='mode must be one of'):
    FakeRobot(tmp_path).controller.begin('else')


class _NeverDone(futures.Executor):
  """Keeps its tasks until `finish`."""

  def __init__(self):
    self.tasks = []

  def submit(self, fn, /, *args, **kwargs):
    self.tasks.append((futures.Future(), fn))
    return self.tasks[-1][0]

  def finish(self):
    for future, fn in self.tasks:
      future.set_result(fn())
    self.tasks = []


def test_no_query_takes_the_place_of_those_that_a_hold_waits_for(tmp_path):
  """The newest query wins, so the loop must not ask while they are retried."""
  robot = FakeRobot(tmp_path, time_limit=200)
  robot.controller.recorder._executor = waiting = _NeverDone()
  robot.controller.begin('practice')
  for _ in range(11):
    robot.loop.step()
  robot.controller.recorder.hold()
  assert waiting.tasks and robot.driven
  before, sent = len(robot.vla.queries), len(robot.sent)
  for _ in range(20):
    robot.loop.step()
  assert len(robot.vla.queries) == before and len(robot.sent) == sent
  assert 'must answer what it was asked' in robot.steps[-1].verdict
  waiting.finish()
  for _ in range(20):
    robot.loop.step()
  assert len(robot.vla.queries) > before and len(robot.sent) > sent
