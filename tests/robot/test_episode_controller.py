"""The driver of an attempt, on fakes."""

import numpy as np
import pytest

from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.operator import handover
from rlt_jax.robot.operator.events import Kind
from rlt_jax.robot.operator.scripted import Scripted, ScriptedTeleoperator
from rlt_jax.robot.recording import episodes
from tests.robot.fakes import BUNDLE, PERIOD, reference, Rig


def _read(rig):
  return list(episodes.read(rig.folder))


def test_every_step_and_every_look_is_recorded(tmp_path):
  rig = Rig(tmp_path)
  attempt = rig.attempt()
  assert (attempt.outcome, attempt.steps) == ('time_limit', 40)
  (episode,) = _read(rig)
  assert episode.outcome == 'time_limit'
  assert episode.begin == {'policy_version': 7}
  count = len(episode.steps)
  # One tick in five waits for the answer to where the last chunk ended.
  assert count == len(rig.driven) == 32
  assert sorted(episode.seen) == list(range(0, count + 1, 2))
  assert attempt.gaps == 0
  for step, tick in zip(episode.steps, rig.driven, strict=True):
    np.testing.assert_array_equal(step.command, tick.executed)
    np.testing.assert_array_equal(step.measured, tick.measured)
  seen = episode.seen[22]
  np.testing.assert_allclose(seen.pose, episode.steps[22].measured, atol=1e-6)
  look = next(x for x in rig.vla.stamps if x.tick == 22)
  np.testing.assert_allclose(
    seen.proprio, (look.proprio - 0.1) / 2.0, rtol=1e-5
  )
  np.testing.assert_array_equal(seen.z_rl, 22)
  assert seen.reference.shape == (BUNDLE.chunk_size, 3)


def test_the_arm_stays_where_its_chunk_ended_until_the_answer(tmp_path):
  rig = Rig(tmp_path, time_limit=20)
  rig.vla.delay = 0.05
  rig.attempt()
  first = next(
    i for i, x in enumerate(rig.sent) if x.source == CommandSource.WAIT
  )
  last, *waits = rig.sent[first - 1 : first + 3]
  assert [x.source for x in waits] == [CommandSource.WAIT] * 3
  moved = np.abs(last.executed - waits[0].measured)
  assert moved[0] > 1e-4  # it lags behind what it was told
  for wait in waits:
    np.testing.assert_array_equal(
      wait.executed[[0, 2]], waits[0].measured[[0, 2]]
    )
    assert wait.executed[1] == last.executed[1]  # idle: told as before


def test_a_delay_that_is_kept_needs_no_wait(tmp_path):
  rig = Rig(tmp_path, time_limit=20, sigma=0.0, delay=2)
  rig.vla.delay = 0.03
  rig.attempt('evaluation')
  first = rig.sent.index(rig.driven[0])
  assert rig.sent[first:] == rig.driven
  # The second chunk: seen two steps before it, its reference from there on.
  begins = rig.driven[BUNDLE.chunk_size]
  look = next(x for x in rig.vla.stamps if x.step == BUNDLE.chunk_size - 2)
  assert begins.time == pytest.approx(look.asked + 2 * PERIOD)
  chunk = rig.pilot.policy.act(np.zeros(6), look.proprio, reference(2))
  planned = rig.pilot.policy.decode(chunk, look.pose)
  np.testing.assert_allclose(begins.wanted, planned[0], atol=1e-6)


def test_the_chunk_is_the_actors_with_one_draw_of_noise(tmp_path):
  rig = Rig(tmp_path / 'a', time_limit=4)
  rig.vla.delay = 0.0
  rig.attempt()
  twin = Rig(tmp_path / 'b', time_limit=4, sigma=0.0)
  twin.vla.delay = 0.0
  twin.attempt()
  noisy = np.stack([x.wanted for x in rig.sent])
  mean = np.stack([x.wanted for x in twin.sent])
  look = twin.vla.stamps[0]
  chunk = twin.pilot.policy.act(np.zeros(6), look.proprio, reference(0))
  planned = twin.pilot.policy.decode(chunk, look.pose)
  # From its first step, however long the answer took.
  np.testing.assert_allclose(mean[:4], planned, atol=1e-9)
  draw = (noisy - mean)[:4] / BUNDLE.action_scale
  np.testing.assert_allclose(draw, draw[:1].repeat(4, 0), atol=1e-6)
  assert np.abs(draw[0, [0, 2]]).min() > 1e-3
  assert draw[0, 1] == 0.0  # idle


def test_an_evaluation_neither_explores_nor_is_recorded(tmp_path):
  runs = []
  for sigma in (0.3, 0.0):
    rig = Rig(tmp_path / f'{sigma}', sigma=sigma)
    assert rig.attempt('evaluation').steps == 40
    assert not _read(rig) and rig.pilot.practised == 0
    runs.append(np.stack([x.wanted for x in rig.sent]))
  np.testing.assert_array_equal(*runs)


def test_the_vla_warms_up_and_the_actor_follows(tmp_path):
  rig = Rig(tmp_path, vla_warmup_steps=20)
  rig.attempt()
  tags = [x.source for x in _read(rig)[0].steps]
  change = tags.index(1)
  assert 16 <= change <= 20 and set(tags[change:]) == {1}
  wanted = rig.sent[10].wanted - rig.sent[9].wanted
  np.testing.assert_allclose(wanted, 0.0, atol=1e-3)  # it holds its reference


def test_the_base_policy_is_the_vla_alone(tmp_path):
  rig = Rig(tmp_path)
  rig.attempt('base')
  assert {x.source for x in rig.sent} == {'vla'}
  assert not _read(rig)


def test_success_is_the_last_step(tmp_path):
  rig = Rig(tmp_path)
  rig.pilot._device = Scripted([(0.7, Kind.SUCCESS)], clock=rig.clock)
  rig.pilot._device.open()
  attempt = rig.attempt()
  (episode,) = _read(rig)
  assert attempt.outcome == episode.end == 'success'
  assert 30 < attempt.steps < 36
  assert len(episode.steps) == len(rig.driven)
  assert episodes.without_gap(episode, 2) == (episode.steps, 'success')
  assert attempt.presses == 1


def test_what_came_too_late_is_asked_again(tmp_path):
  rig = Rig(tmp_path, vla_warmup_steps=1000)
  rig.vla.delay = 0.09
  attempt = rig.attempt()
  (episode,) = _read(rig)
  live = [tick for tick, seen in episode.seen.items() if seen.live]
  ticks = list(range(0, len(episode.steps) + 1, 2))
  assert sorted(episode.seen) == ticks and attempt.gaps == 0
  assert attempt.backfilled == len(ticks) - len(live) > 2 and len(live) > 2
  for tick, seen in episode.seen.items():
    np.testing.assert_array_equal(seen.z_rl, tick)


def test_before_the_critical_phase_the_vla_drives_unrecorded(tmp_path):
  rig = Rig(tmp_path, start_in_critical_phase=False)
  rig.pilot._device = Scripted([(0.3, Kind.ENTER_CRITICAL)], clock=rig.clock)
  rig.pilot._device.open()
  attempt = rig.attempt()
  (episode,) = _read(rig)
  assert attempt.steps == 40
  before = len(rig.driven) - len(episode.steps)
  assert before > 10
  assert {x.source for x in rig.driven[:before]} == {'vla'}
  assert episode.steps[-1].source == 1
  assert 0 in episode.seen and attempt.gaps == 0


def test_a_person_takes_over_and_gives_back(tmp_path):
  target = np.array([0.05, 0.0, 0.012])
  rig = Rig(tmp_path, time_limit=80)
  rig.pilot._device = ScriptedTeleoperator(
    [(0.5, Kind.TAKEOVER), (1.2, Kind.RELEASE)],
    pose=lambda s: target,
    clock=rig.clock,
  )
  rig.pilot._device.open()
  attempt = rig.attempt()
  parts = _read(rig)
  assert [x.outcome for x in parts] == ['hold', 'hold', 'time_limit']
  assert {x.source for x in parts[1].steps} == {2}
  assert sum(len(x.steps) for x in parts) == len(rig.driven)
  assert attempt.steps == 80
  for part in parts:
    steps, _ = episodes.without_gap(part, 2)
    assert len(steps) == len(part.steps)
  np.testing.assert_allclose(parts[1].steps[-1].command, target)
  assert attempt.human_s == pytest.approx(0.7, abs=3 * PERIOD)


def test_a_recording_again_is_not_learned_from(tmp_path):
  rig = Rig(tmp_path)
  rig.pilot._device = Scripted([(0.4, Kind.RERECORD)], clock=rig.clock)
  rig.pilot._device.open()
  assert rig.attempt().outcome == 'rerecord'
  assert _read(rig)[0].end is None


def test_attempts_follow_each_other(tmp_path):
  rig = Rig(tmp_path)
  assert [rig.attempt().steps for _ in range(3)] == [40] * 3
  assert rig.pilot.practised == 120
  assert len(_read(rig)) == 3
  assert rig.pilot._hand.mode is handover.Mode.ENDED


def test_an_attempt_must_have_a_mode(tmp_path):
  with pytest.raises(ValueError, match='mode must be one of'):
    Rig(tmp_path).pilot.begin('else')
