"""Drives an arm through an attempt: the VLA, the actor or a person.

The pilot looks, asks and listens; the planner says which chunk drives. The
journal gets what is executed and seen, and no waits: they decide nothing.
"""

from collections.abc import Callable
from concurrent import futures

import numpy as np

from rlt_jax.robot.arm import Reading
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control.commands import Command, CommandSource
from rlt_jax.robot.control.telemetry import LoopStep
from rlt_jax.robot.episode import (
  Attempt,
  EpisodeConfig,
  MODES,
)
from rlt_jax.robot.operator import handover
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.effort import Effort
from rlt_jax.robot.operator.events import Device, DeviceError, Event, Kind
from rlt_jax.robot.operator.handover import Drive, Mode
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.chunk_scheduler import ChunkScheduler
from rlt_jax.robot.policy.numpy_policy import (
  draw_noise,
  NumpyPolicy,
)
from rlt_jax.robot.policy.vla_queries import VlaQueries, VlaQuery
from rlt_jax.robot.recording.episode_recorder import EpisodeRecorder
from rlt_jax.robot.recording.segments import Step
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.schema import Reply

_OUTCOMES = {Kind.SUCCESS: 'success', Kind.FAILURE: 'failure',
             Kind.ABORT: 'abort', Kind.RERECORD: 'rerecord'}  # fmt: skip
_TIMER = 'time limit'


class EpisodeController:
  """A `Driver`; `after` is the loop's `on_tick`. practised: control steps so
  far; set it to go on with an earlier run. words: for the person."""

  def __init__(
    self,
    bundle: BundleSpec,
    policy: NumpyPolicy,
    *,
    sight: VlaQueries,
    outbox: WriteBuffer,
    device: Device,
    handover_config: HandoverConfig,
    clock: Clock,
    executor: futures.Executor,
    config: EpisodeConfig,
  ):
    """Starts nothing; `executor` is the sight's, `device` is open."""
    self._bundle, self.policy, self._config = bundle, policy, config
    self._sight, self._outbox = sight, outbox
    self._device, self._handover_config = device, handover_config
    self._clock, self._period_s = clock, 1.0 / bundle.control_hz
    self.parts = EpisodeRecorder(bundle, outbox, sight, executor,
                       stride=config.replay_stride,
                       timeout_s=config.answer_timeout_s)  # fmt: skip
    self.planner = ChunkScheduler(bundle, self._choose,
                           horizon=config.open_loop_steps,
                           starved_steps=config.starved_steps)  # fmt: skip
    self.effort = Effort()
    self._rng = np.random.default_rng(config.seed)
    self._hand, self._reading = handover.State(), None
    self.practised, self.mode, self.words, self.stopped = 0, '', '', False
    self.lost = ''  # why the operator's device is
    self.ask_to_stop: Callable[[str], None] = lambda cause: None

  def begin(self, mode: str, version: int = 0) -> None:
    """Starts an attempt of a mode; raises a ValueError for one unknown."""
    if mode not in MODES:
      raise ValueError(f'mode must be one of {MODES}: {mode!r}.')
    now = self._clock.now()
    self._hand = handover.begin(self._hand, now=now)
    self.mode, self.steps, self.words = mode, 0, ''
    self._outcome, self._critical = '', self._config.start_in_critical_phase
    self._filled = self.parts.backfilled, self.parts.gaps
    self._calls, self._last_call = 0, now
    self.planner.begin(now)
    self.parts.begin(policy_version=version)

  def __call__(self, reading: Reading, now: float) -> Command | str:
    """Returns the next command, or why the arm holds."""
    self._reading = reading
    effects = self._listen(reading, now)
    self._look(reading)
    self._hear()
    if effects.drive is Drive.HOLD:
      return effects.words or f'The arm holds: {self._hand.mode.value}.'
    if self._sight.blind and effects.drive is Drive.POLICY:
      return self._sight.blind
    if self._records:
      if self._outbox.full and not self._outbox.flush():
        return self._outbox.full
      human = effects.drive is Drive.HUMAN
      if busy := self.parts.resume(give_up=human):
        self.planner.expect(now)
        return busy
      if not self.parts.tick and self.parts.due():
        self._ask(reading)  # no part begins with what nobody asked about
    if effects.drive is Drive.HUMAN:
      return Command(effects.command, now, CommandSource.HUMAN)
    wanted = self.planner.next(now, reading.position, paced=self._paced)
    if isinstance(wanted, str):
      return f'{wanted}: {self._sight.cause()}.'
    return wanted

  def clear(self) -> None:
    """Forgets what was planned: the arm has stopped or starts anew."""
    self.planner.clear(self._clock.now())

  def after(self, tick: LoopStep) -> None:
    """Records what was really executed."""
    if not np.isfinite(tick.executed).all():
      self._rest()
      self.planner.forget()  # the rest of a chunk is of another moment
      self.words = tick.verdict
      return
    self.steps, self.words = self.steps + self._critical, ''
    self.practised += self._records
    if tick.source == CommandSource.WAIT:
      return
    counts = tick.source != CommandSource.HUMAN
    self.planner.step(tick.time, paced=self._paced, counts=counts)
    if self._records:
      self.parts.step(
        Step(tick.executed, tick.measured, tick.source.row_source)
      )

  @property
  def ended(self) -> bool:
    """Whether the attempt is over."""
    return bool(self._outcome)

  @property
  def drives(self) -> str:
    """Who drives now: a source of a tick, or 'nobody'."""
    if self._hand.mode is Mode.AUTONOMOUS:
      return self.planner.driver
    return CommandSource.HUMAN if self._hand.mode is Mode.HUMAN else 'nobody'

  def hears_release(self) -> bool:
    """Returns whether the operator gives back an arm that a fault stopped."""
    kinds = {event.kind for event in self._device.poll()}
    if Kind.STOP in kinds:
      self._stop()
    return Kind.RELEASE in kinds and not self.stopped

  def end(self, cause: str = '') -> Attempt | str:
    """Ends the attempt, which `cause` may have cut short; the arm holds.

    Returns it once it is on the disk, or why it is not yet: then call again.
    """
    outcome = self._outcome or 'hold'
    self._rest()
    if waits := self.parts.end(outcome):
      return waits
    kind = {x: k for k, x in _OUTCOMES.items()}.get(outcome, Kind.ABORT)
    if self._hand.mode not in (Mode.ENDED, Mode.STOPPED):
      self._hand = self._hand._replace(mode=Mode.ENDED, outcome=kind)
    cost = self.effort.end(kind)
    filled = self.parts.backfilled, self.parts.gaps
    return Attempt(
      self.mode, outcome, self.steps, cause or self.words * (outcome == 'hold'),
      cost['human_s'], cost['presses'],
      *(a - b for a, b in zip(filled, self._filled, strict=True)),
    )  # fmt: skip

  @property
  def _records(self) -> bool:
    return self.mode == 'practice' and self._critical

  def _listen(self, reading: Reading, now: float) -> handover.Effects:
    try:
      events = self._device.poll()
    except DeviceError as error:  # who is not heard cannot watch over an arm
      events = [Event(Kind.STOP, now, self._device.name)]
      self.lost = str(error)
    if self.steps >= self._config.time_limit:
      events = [*events, Event(Kind.ABORT, now, _TIMER)]
    hand = {'human_pose': None}
    if hasattr(self._device, 'pose'):
      hand['human_pose'] = self._device.pose()
      hand['human_delta'] = self._device.delta(reading.position, self._period_s)
    self._hand, effects = handover.advance(
      self._hand, events, arm_pose=reading.position, now=now,
      config=self._handover_config, **hand)  # fmt: skip
    self.effort.tick(self._hand.mode, effects, max(now - self._last_call, 0.0))
    self._last_call = now
    if effects.clear_queue:
      self.planner.clear(reading.time)
    if effects.entered_critical and not self._critical:
      self._critical = True
      self.planner.enter(reading.time)
    if effects.stopped:
      self._stop()
    if effects.ended is not None:
      timed = effects.accepted and effects.accepted[-1].device == _TIMER
      self._outcome = 'time_limit' if timed else _OUTCOMES.get(
        effects.ended, 'hold'
      )  # fmt: skip
    return effects

  def _stop(self) -> None:
    self.stopped = True
    self.ask_to_stop(self.lost or 'the operator stopped the arm')

  def _look(self, reading: Reading) -> None:
    """Asks at every tick that is needed, and on and on before the first."""
    self._calls += 1
    moving = self._records and self.parts.tick and not self.parts.broken
    due = (
      self._calls % self._config.replay_stride == 1
      or self._config.replay_stride == 1
    )
    if self.parts.due() if moving else due or self.planner.stands:
      self._ask(reading)
    self.planner.stands = False

  def _ask(self, reading: Reading) -> None:
    proprio = np.concatenate([reading.position, reading.velocity])
    if open_part := self._records and not self.parts.broken:
      self.parts.looked()
    self._sight.look(
      VlaQuery(
        self.parts.part if open_part else -1,
        self.parts.tick if open_part else 0,
        reading.time,
        reading.time,
        np.array(reading.position, np.float64),
        proprio.astype(np.float32),
        self.planner.driven,
      )
    )

  def _rest(self) -> None:
    """The arm holds; what it holds at came after the last step."""
    parts = self.parts
    if self._records and parts.tick and not parts.broken and parts.due():
      self._ask(self._reading)
    parts.hold()

  def _hear(self) -> None:
    answer = self._sight.newest()
    if answer is None:
      return
    if self._records:
      self.parts.answer(answer.stamp, answer.reply)
    self.planner.hear(answer.stamp, answer.reply, paced=self._paced)

  @property
  def _paced(self) -> bool:
    """Whether a chunk waits for what is seen where the last one ended."""
    return self.mode != 'base' and self._critical

  def _choose(
    self, look: VlaQuery, reply: Reply, since: int
  ) -> tuple[np.ndarray, str]:
    """Returns commands of an answer to a look so many steps ago, and whose."""
    if not self._paced:
      return self.policy.decode(reply.reference, look.pose), CommandSource.VLA
    spec, driver = self._bundle, CommandSource.VLA
    chunk = reply.reference[since : since + spec.chunk_size]
    if (
      self.mode == 'evaluation'
      or self.practised >= self._config.vla_warmup_steps
    ):
      chunk = self.policy.act(reply.z_rl, look.proprio, chunk)
      driver = CommandSource.ACTOR
      if self.mode == 'practice':
        chunk = chunk + draw_noise(spec, self._rng)
    return self.policy.decode(chunk, look.pose), driver
