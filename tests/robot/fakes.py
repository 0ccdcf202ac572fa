"""A robot cell of fakes on a clock that a test winds."""

from typing import NamedTuple

import numpy as np

from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.control.loop import Loop
from rlt_jax.robot.control.stop_states import StopState
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.episode_controller import EpisodeController
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy.vla_queries import Inline, VlaQueries
from rlt_jax.robot.recording.episodes import EpisodeLog
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.recording.write_buffer import WriteBuffer
from rlt_jax.serving.client import Answer, Status
from rlt_jax.serving.schema import Reply, ServingSpec
from tests.robot.conftest import make_layers, make_spec

PERIOD = 0.02
_JOINTS = ('a', 'b', 'grip')
ARM = ArmSpec(
  name='rig',
  joint_names=_JOINTS,
  joint_units=('rad', 'rad', 'm'),
  joint_low=(-1.0, -1.0, 0.0),
  joint_high=(1.0, 1.0, 0.03),
  max_step=(0.1, 0.1, 0.01),
  max_velocity=(1.0, 1.0, 0.1),
  chains=(),
  stow=(0.0, 0.0, 0.01),
  max_observation_age_s=0.1,
  max_action_age_s=0.6,
)
BUNDLE = make_spec(
  proprio_names=tuple(f'{x}.{y}' for y in ('pos', 'vel') for x in _JOINTS),
  proprio_mean=(0.1,) * 6,
  proprio_std=(2.0,) * 6,
  reach=(0.1, 0.1, 0.01),
)
WIRE = ServingSpec(
  cameras=('wrist',),
  image_size=8,
  proprio_dim=6,
  horizon=20,
  action_dim=3,
  z_dim=6,
  joint_names=_JOINTS,
  action_mode='offset',
  action_scale=BUNDLE.action_scale,
  vla_fingerprint='abc',
  token_fingerprint='def',
)


class Clock:
  def __init__(self):
    self.time = 100.0

  def now(self) -> float:
    return self.time

  def sleep_until(self, deadline: float) -> None:
    self.time = max(self.time, deadline)


def reference(first: int, steps: int = BUNDLE.chunk_size) -> np.ndarray:
  """What the `Vla` below always proposes, from a step of it on."""
  rising = 0.25 + 0.01 * np.arange(first, first + steps)
  return np.float32(rising[:, None].repeat(3, 1))


class _Asked(NamedTuple):
  stamp: object
  due: float


class Vla:
  """A client whose server takes `delay` s; `lost` is why there is none.

  spoiled: what the client said of the newest answer, which was refused.
  """

  def __init__(self, clock: Clock):
    self.clock, self.delay, self.lost, self.spoiled = clock, 0.01, '', ''
    self.stamps: list = []
    self.requests: list[dict] = []
    self._running: _Asked | None = None
    self._waiting = None
    self._answer: Answer | None = None

  def ask(self, observation, stamp) -> None:
    self.requests.append(observation)
    self.stamps.append(stamp)
    if not self.lost:
      self._serve()
      self._waiting = stamp
      self._serve()

  def latest(self) -> Answer | None:
    self._serve()
    return self._answer

  def status(self) -> Status:
    if self.lost:
      return Status('lost', self.lost)
    return Status('ready', self.spoiled)

  def _serve(self) -> None:
    if self.lost:
      self._running = self._waiting = None
    run = self._running
    if run is not None and run.due <= self.clock.now():
      self._running = None
      if not self.spoiled:
        self._answer = Answer(self._reply(run.stamp), run.stamp, self.delay)
    if self._running is None and self._waiting is not None:
      self._running = _Asked(self._waiting, self.clock.now() + self.delay)
      self._waiting = None

  def _reply(self, look) -> Reply:
    chunk = reference(0, WIRE.horizon)
    pose = getattr(look, 'pose', np.zeros(3))  # a preflight's has none
    actions = pose + chunk * np.float32(WIRE.action_scale)
    z_rl = np.full(WIRE.z_dim, getattr(look, 'tick', 0), np.float32)
    return Reply(actions, z_rl, chunk)


class Rig:
  """A cell of fakes: `attempt` runs one."""

  def __init__(
    self,
    folder,
    *,
    device=None,
    faults=(),
    camera_faults=(),
    handover_config=None,
    journal=None,
    sigma=0.3,
    delay=0,
    **config,
  ):
    self.clock = Clock()
    self.arm = FakeArm(ARM, clock=self.clock, faults=faults)
    self.arm.connect()
    self.vla = Vla(self.clock)
    self.journal = Journal(folder, **(journal or {}))
    self.folder = folder
    cameras = FakeCameras(
      ('wrist',), clock=self.clock, size=8, faults=camera_faults
    )
    executor = Inline()
    # As after a preflight: an answer is there, and not to a look.
    stamp = ('preflight', 0)
    self.vla._answer = Answer(self.vla._reply(stamp), stamp, self.vla.delay)
    self.sight = VlaQueries(
      cameras,
      self.vla,
      WIRE,
      prompt='insert',
      clock=self.clock,
      executor=executor,
      max_age_s=0.1,
      max_same_s=0.3,
    )
    bundle = make_spec(
      **(vars(BUNDLE) | {'exploration_std': sigma, 'inference_delay': delay})
    )
    device = device or Scripted([], clock=self.clock)
    device.open()
    fields = {
      'time_limit': 40,
      'start_in_critical_phase': True,
      'vla_warmup_steps': 0,
      'answer_timeout_s': 3.0,
    }
    self.pilot = EpisodeController(
      bundle,
      NumpyPolicy(bundle, make_layers(bundle)),
      sight=self.sight,
      outbox=WriteBuffer(EpisodeLog(self.journal)),
      device=device,
      handover_config=handover_config
      or HandoverConfig.for_arm(
        ARM, align_tolerance=(0.2,) * 3, keep_tolerance=(0.3,) * 3
      ),
      clock=self.clock,
      executor=executor,
      config=EpisodeConfig(**(fields | config)),
    )
    self.loop = Loop(self.arm, self.pilot, self.clock, on_step=self._on_tick)
    self.pilot.ask_to_stop = self.loop.stop
    self.ticks: list = []
    self.on_tick = lambda tick: None

  def _on_tick(self, tick) -> None:
    self.pilot.after(tick)
    self.ticks.append(tick)
    self.on_tick(tick)

  def run(self, mode='practice') -> None:
    self.pilot.begin(mode, version=7)
    self.loop.run(
      lambda tick: (
        self.pilot.ended or self.loop.stop_status.state is not StopState.RUN
      )
    )

  def attempt(self, mode='practice'):
    self.run(mode)
    return self.pilot.end()

  @property
  def stopped(self) -> bool:
    return self.loop.stop_status.state is not StopState.RUN

  @property
  def sent(self) -> list:
    return [x for x in self.ticks if np.isfinite(x.executed).all()]

  @property
  def driven(self) -> list:
    """What was sent and is recorded: without the waits between chunks."""
    return [x for x in self.sent if x.source != CommandSource.WAIT]

  @property
  def verdicts(self) -> str:
    return ' '.join(dict.fromkeys(x.verdict for x in self.ticks))
