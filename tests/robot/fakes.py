"""A robot of fakes on a clock that a test winds."""

from concurrent import futures
import functools
from typing import NamedTuple

import numpy as np

from rlt_jax.robot.arm import ArmSpec
from rlt_jax.robot.arms.fake import FakeArm
from rlt_jax.robot.arms.fake_cameras import FakeCameras
from rlt_jax.robot.control.commands import CommandSource
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.operator.alignment import HandoverConfig
from rlt_jax.robot.operator.scripted import Scripted
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.policy_updates import PolicyUpdates
from rlt_jax.robot.recording.journal import Journal
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.robot.run_results import RunResults
from rlt_jax.robot.run_schedule import RobotRun, RunPlan
from rlt_jax.robot.runtime import assemble
from rlt_jax.serving.client import Answer, Status
from rlt_jax.serving.schema import Reply, ServingSpec
from tests.robot.conftest import make_layers, make_spec
from tests.robot.fake_clock import FakeClock

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


def make_handover(**changes) -> HandoverConfig:
  fields = {'align_tolerance': (0.2,) * 3, 'keep_tolerance': (0.3,) * 3}
  return HandoverConfig.for_arm(ARM, **(fields | changes))


def reference(first: int, steps: int = BUNDLE.chunk_size) -> np.ndarray:
  """The chunk that `Vla` always returns, from one of its steps on."""
  rising = 0.25 + 0.01 * np.arange(first, first + steps)
  return np.float32(rising[:, None].repeat(3, 1))


class _Running(NamedTuple):
  stamp: object
  done_time: float


class Vla:
  """A client whose server takes `delay` s; `lost`: why it has none.

  spoiled: why the client refused the newest answer.
  """

  def __init__(self, clock: FakeClock):
    self.clock, self.delay, self.lost, self.spoiled = clock, 0.01, '', ''
    self.queries: list = []
    self.requests: list[dict] = []
    self._running: _Running | None = None
    self._waiting = None
    self._answer: Answer | None = None

  def ask(self, observation, stamp) -> None:
    self.requests.append(observation)
    self.queries.append(stamp)
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
    if run is not None and run.done_time <= self.clock.now():
      self._running = None
      if not self.spoiled:
        self._answer = Answer(self._reply(run.stamp), run.stamp, self.delay)
    if self._running is None and self._waiting is not None:
      self._running = _Running(self._waiting, self.clock.now() + self.delay)
      self._waiting = None

  def _reply(self, query) -> Reply:
    chunk = reference(0, WIRE.horizon)
    pose = getattr(query, 'pose', np.zeros(3))  # a preflight's has none
    actions = pose + chunk * np.float32(WIRE.action_scale)
    step = getattr(getattr(query, 'stamp', None), 'step', 0)
    z_rl = np.full(WIRE.z_dim, step, np.float32)
    return Reply(actions, z_rl, chunk)


class InlineExecutor(futures.Executor):
  """Runs each task at once, in the caller's thread."""

  def submit(self, fn, /, *args, **kwargs) -> futures.Future:
    future = futures.Future()
    try:
      future.set_result(fn(*args, **kwargs))
    except Exception as error:
      future.set_exception(error)
    return future


class FakeRobot:
  """The whole robot on fakes: `episode` runs one episode.

  device: clock -> the operator's device; None: a `Scripted` one with the
  script. The parts are connected by `runtime.assemble`, as in a real run.
  """

  def __init__(
    self,
    folder,
    *,
    script=(),
    device=None,
    faults=(),
    camera_faults=(),
    handover=None,
    journal=None,
    exploration_std=0.3,
    exploration_noise='per_chunk',
    inference_delay=0,
    replay_stride=2,
    stow_after_hold_s=None,
    disable_after_stow_s=None,
    keep=lambda query, images: None,
    **config,
  ):
    self.clock = FakeClock()
    self.arm = FakeArm(ARM, clock=self.clock, faults=faults)
    self.arm.connect()
    self.vla = Vla(self.clock)
    # As after a preflight: an answer is there, and not to a query.
    stamp = ('preflight', 0)
    self.vla._answer = Answer(self.vla._reply(stamp), stamp, self.vla.delay)
    self.journal = Journal(folder, **(journal or {}))
    self.folder = folder
    device = device or functools.partial(Scripted, script)
    self.device = device(clock=self.clock)
    self.device.open()
    bundle = make_spec(
      **(
        vars(BUNDLE)
        | {
          'exploration_std': exploration_std,
          'exploration_noise': exploration_noise,
          'inference_delay': inference_delay,
          'replay_stride': replay_stride,
        }
      )
    )
    fields = {
      'time_limit': 40,
      'start_in_critical_phase': True,
      'vla_warmup_steps': 0,
      'answer_timeout_s': 3.0,
    }
    setup = RobotSetup(
      arm=self.arm,
      cameras=FakeCameras(
        ('wrist',),
        clock=self.clock,
        size=8,
        frames_per_s=60.0,  # so that no query waits for a frame in line
        faults=camera_faults,
      ),
      operator=self.device,
      handover=handover or make_handover(),
      prepare=lambda mode, number: None,
      bundle='',
      vla='',
      control_hz=50.0,
      time_limit=0,
      start_in_critical_phase=True,
      max_camera_age_s=0.1,
      frozen_camera_timeout_s=0.3,
      stow_after_hold_s=stow_after_hold_s,
      disable_after_stow_s=disable_after_stow_s,
      watchdog=None,
    )
    self.steps: list = []
    self.on_step = lambda step: None
    runtime = assemble(
      setup,
      NumpyPolicy(bundle, make_layers(bundle)),
      self.vla,
      WIRE,
      journal=self.journal,
      executor=InlineExecutor(),
      camera_executor=InlineExecutor(),
      clock=self.clock,
      config=EpisodeConfig(**(fields | config)),
      on_step=self._on_step,
      keep=keep,
    )
    self.loop, self.controller, self.operator, self.vla_queries = runtime

  def _on_step(self, step) -> None:
    self.steps.append(step)
    self.on_step(step)

  def run(self, mode='practice') -> None:
    self.controller.begin(mode, version=7)
    self.loop.run(lambda step: self.controller.ended or self.loop.stopped)

  def episode(self, mode='practice'):
    self.run(mode)
    return self.controller.end()

  def schedule(self, folder, *, newest=lambda in_use: None, **changes):
    """Returns a `RobotRun`; `changes` are of its plan or arguments."""
    plan = {'minutes': 0.04, 'num_base_episodes': 0, 'num_final_episodes': 0}
    plan |= {'resume_after_s': None}
    plan |= {name: changes.pop(name) for name in plan if name in changes}
    folder.mkdir(exist_ok=True)
    fields = {'prepare': lambda mode, number: None} | changes
    return RobotRun(
      self.loop,
      self.controller,
      self.operator,
      plan=RunPlan(**plan),
      results=RunResults(folder),
      updates=PolicyUpdates(BUNDLE, newest),
      control_hz=1.0 / PERIOD,
      clock=self.clock,
      **fields,
    )

  @property
  def sent(self) -> list:
    return [x for x in self.steps if np.isfinite(x.executed).all()]

  @property
  def driven(self) -> list:
    """What was sent and is recorded: without the waits between chunks."""
    return [x for x in self.sent if x.source != CommandSource.WAIT]

  @property
  def arm_calls(self) -> list[str]:
    """The arm's calls, without repetitions."""
    return [name for _, name in self.arm.events]
