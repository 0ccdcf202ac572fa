"""Checks arm, cameras, VLA, policy and host before anything moves."""

from collections.abc import Sequence
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shutil
import time
from typing import Any

import numpy as np

from rlt_jax.robot.arm import Arm, ArmError, ArmSpec
from rlt_jax.robot.cameras import Cameras
from rlt_jax.robot.clock import Clock
from rlt_jax.robot.control import safety_limits
from rlt_jax.robot.control.histograms import Histogram
from rlt_jax.robot.episode import EpisodeConfig
from rlt_jax.robot.findings import attempt, BAD, Finding, NOTE, OK
from rlt_jax.robot.policy import bundle as bundle_lib
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.robot.policy.numpy_policy import NumpyPolicy
from rlt_jax.robot.robot_setup import RobotSetup
from rlt_jax.serving import schema
from rlt_jax.serving.schema import ServingSpec

_DARK, _BRIGHT = 10.0, 245.0  # limits of a picture's mean, of 255
_FREE_BYTES = 1 << 30
_REPORT = ('scipy', 'matplotlib', 'PIL')  # only the report needs them
_ASK_AGAIN_S = 2.0


def check_all(
  setup: RobotSetup,
  policy: NumpyPolicy,
  client: Any,
  wire: ServingSpec,
  *,
  folder: pathlib.Path,
  clock: Clock,
  priority: str,
) -> list[Finding]:
  """Runs all checks; moves nothing.

  Args:
    setup: with a connected arm.
    policy: with its bundle.
    client: of the VLA's server.
    wire: what the server takes and returns.
    folder: where the journal will be.
    clock: the loop's.
    priority: what `realtime.request_priority` returned.
  """
  bundle, period_s = policy.spec, 1.0 / policy.spec.control_hz
  return [
    *check_host(bundle, folder, priority),
    *check_files(bundle, setup.arm.spec, setup.control_hz),
    *check_arm(setup.arm, clock),
    *check_vla(client, wire, bundle, clock),
    *check_cameras(
      bundle, setup.cameras, wire, max_age_s=setup.max_camera_age_s, clock=clock
    ),
    *check_timing(setup.arm, policy, clock, period_s=period_s),
  ]


def check_files(
  bundle: BundleSpec, spec: ArmSpec, control_hz: float
) -> list[Finding]:
  """Compares the policy's bundle with the arm's file and the station's rate."""
  found = [
    attempt(
      'safety limits', 'the arm has valid ones', safety_limits.check, spec
    )
  ]
  host = {'control_hz': control_hz, 'proprio_names': proprio_names(spec)}
  for name in ('joint_names', 'joint_units', 'joint_low', 'joint_high', *host):
    value = host[name] if name in host else getattr(spec, name)
    if name in ('joint_low', 'joint_high'):
      own = getattr(bundle, name)
      if len(own) == len(value) and np.allclose(own, value, atol=1e-6):
        value = own  # the bundle's numbers are rounded to float32
    found.append(
      attempt(name, 'as in the bundle', bundle_lib.check_host, bundle,
           **{name: value})
    )  # fmt: skip
  if len(bundle.reach) == spec.action_dim:
    short = [
      joint
      for joint, step, reach in zip(
        spec.joint_names, spec.max_step, bundle.reach, strict=True
      )
      if step < reach * (1.0 - 1e-6)
    ]
    text = 'as in practice'
    if short:
      text = f'shorter than in practice for {short}'
    found.append(Finding('max_step', text, NOTE if short else OK))
  return [*found, _check_action_age(bundle, spec, control_hz)]


def _check_action_age(
  bundle: BundleSpec, spec: ArmSpec, control_hz: float
) -> Finding:
  """Compares how old a step of a chunk may be with how old the last one is."""
  steps = max(
    bundle.chunk_size + bundle.inference_delay, EpisodeConfig.open_loop_steps
  )
  return Finding(
    'max_action_age_s',
    f'{spec.max_action_age_s:g} s; the last step of a chunk is at least '
    f'{steps / control_hz:.2f} s old',
    OK if steps / control_hz < spec.max_action_age_s else BAD,
  )


def proprio_names(spec: ArmSpec) -> tuple[str, ...]:
  """Returns the names of what the loop measures: positions, then velocities."""
  return tuple(
    f'{x}.{kind}' for kind in ('pos', 'vel') for x in spec.joint_names
  )


def check_cameras(
  bundle: BundleSpec,
  cameras: Cameras,
  wire: ServingSpec | None,
  *,
  max_age_s: float,
  clock: Clock,
  watch_s: float = 1.0,
) -> list[Finding]:
  """Checks the cameras' names, and their pictures for `watch_s`."""
  names = tuple(cameras.shapes)
  found = [attempt('cameras', ', '.join(names), bundle_lib.check_host, bundle,
                cameras=names)]  # fmt: skip
  if wire is not None:
    shapes = {name: (*wire.image_shape(name), 3) for name in wire.cameras}
    found_shapes = {k: tuple(v) for k, v in cameras.shapes.items()}
    other = {k: v for k, v in found_shapes.items() if v != shapes.get(k)}
    text = f'{other}, the VLA takes {shapes}' if other else f'{shapes}'
    found.append(Finding('picture shapes', text, BAD if other else OK))
  oldest, end, light, spent, early = 0.0, clock.now() + watch_s, {}, [], []
  while True:
    getattr(cameras, 'trigger', lambda: None)()
    began = clock.now()
    try:
      images = cameras.observe()
    except Exception as error:  # a vendor's own, too
      return [*found, Finding('pictures', f'{error}', BAD)]
    spent.append(clock.now() - began)
    taken = clock.now() - cameras.age_s()
    oldest = max(oldest, clock.now() - taken)
    early.append(began - taken)
    light = {k: float(np.mean(x)) for k, x in images.items()}
    if clock.now() >= end:
      break
    clock.sleep_until(clock.now() + 0.05)
  fresh = oldest <= max_age_s
  found.append(
    Finding(
      'picture age',
      f'at most {oldest:.3f} s, allowed {max_age_s} s',
      OK if fresh else BAD,
    )
  )
  found += [_time_of_observe(bundle, spent), _picture_pace(bundle, early)]
  for name, mean in light.items():
    seen = _DARK <= mean <= _BRIGHT
    text = f'mean {mean:.0f} of 255'
    found.append(Finding(f'brightness {name}', text, OK if seen else BAD))
  return found


def _time_of_observe(bundle: BundleSpec, spent: Sequence[float]) -> Finding:
  """Says how long cameras take to hand over their pictures.

  Slower than the queries come, each would wait longer than the one before.
  """
  period_s = 1.0 / bundle.control_hz
  typical, due_s = float(np.median(spent)), bundle.replay_stride * period_s
  text = (
    f'taken in {1e3 * typical:.0f} ms, at most {1e3 * max(spent):.0f}; a '
    f'query comes every {1e3 * due_s:.0f} ms'
  )
  verdict = OK if max(spent) <= period_s else NOTE
  return Finding('pictures', text, BAD if typical >= due_s else verdict)


def _picture_pace(bundle: BundleSpec, early: Sequence[float]) -> Finding:
  """Says whether pictures come often enough that each query has one.

  One of at most a control step before or after a query answers it.
  """
  limit_s = 1.0 / bundle.control_hz
  typical, worst = float(np.median(early)), max(early)
  text = (
    f'{1e3 * max(typical, 0.0):.0f} ms old when asked for, at most '
    f'{1e3 * max(worst, 0.0):.0f}; every {2e3 * limit_s:.0f} ms or more often '
    'there must be one'
  )
  verdict = OK if worst <= 2.0 * limit_s else NOTE
  return Finding(
    'picture pace', text, BAD if typical > 2.0 * limit_s else verdict
  )


def check_arm(arm: Arm, clock: Clock) -> list[Finding]:
  """Reads a connected arm: pose inside its limits, and age of the reading."""
  spec = arm.spec
  try:
    reading = arm.observe()
  except ArmError as error:
    return [Finding('arm', str(error), BAD)]
  position = np.asarray(reading.position)
  if not np.isfinite(position).all():
    return [Finding('pose', f'not finite: {position}', BAD)]
  out = [
    f'{joint} at {x:.4f}'
    for joint, x, low, high in zip(
      spec.joint_names, position, spec.joint_low, spec.joint_high, strict=True
    )
    if not low <= x <= high
  ]
  age = clock.now() - reading.time
  fresh = 0.0 <= age <= spec.max_observation_age_s
  return [
    Finding(
      'pose',
      f'outside its limits: {", ".join(out)}' if out else 'inside its limits',
      BAD if out else OK,
    ),
    Finding('reading age', f'{age:.3f} s', OK if fresh else BAD),
  ]


def check_timing(
  arm: Arm,
  policy: NumpyPolicy,
  clock: Clock,
  *,
  period_s: float,
  seconds: float = 2.0,
) -> list[Finding]:
  """Reads the arm and runs the policy at the control rate; sends nothing."""
  spec, late, spent = policy.spec, Histogram(), Histogram()
  z_rl = np.zeros(spec.z_dim, np.float32)
  proprio = np.float32(spec.proprio_mean)
  reference = np.zeros((spec.chunk_size, spec.action_dim), np.float32)
  start = clock.now()
  for i in range(1, max(2, round(seconds / period_s))):
    deadline = start + i * period_s
    clock.sleep_until(deadline)
    began = clock.now()
    late.add(max(0.0, began - deadline))
    try:
      arm.observe()
    except ArmError as error:
      return [Finding('dry loop', str(error), BAD)]
    policy.act(z_rl, proprio, reference)
    spent.add(clock.now() - began)
  found = []
  for name, histogram in (('lateness', late), ('read and compute', spent)):
    p50, p99 = histogram.quantile(0.5), histogram.quantile(0.99)
    verdict = OK if p99 <= 0.25 * period_s else NOTE
    verdict = BAD if p50 > 0.5 * period_s else verdict
    text = f'p50 {1e3 * p50:.2f} ms, p99 {1e3 * p99:.2f} ms'
    found.append(Finding(f'dry loop, {name}', text, verdict))
  return found


def check_vla(
  client: Any,
  wire: ServingSpec,
  bundle: BundleSpec,
  clock: Clock,
  *,
  asks: int = 5,
  timeout_s: float = 120.0,
) -> list[Finding]:
  """Queries the VLA with black images; nothing acts on the answers.

  A server that compiles at its first query may answer it after minutes. The
  client gives such a query up, so it is asked again.
  """
  request = schema.make_blank_request(wire, bundle.proprio_mean, bundle.prompt)
  trips, end, first = [], clock.now() + timeout_s, None
  for i in range(asks):
    start = clock.now()
    answer = _ask(client, request, ('preflight', i), clock, end)
    if answer is None:
      cause = client.status().cause or 'it is too slow'
      text = f'no answer in {timeout_s:g} s: {cause}'
      return [Finding('VLA', text, BAD)]
    if first is None:
      first = clock.now() - start
    trips.append(answer.round_trip_s)
  chunk_s, trip = bundle.chunk_size / bundle.control_hz, float(np.median(trips))
  delay_s = bundle.inference_delay / bundle.control_hz
  # A late answer is allowed: the arm then waits at the end of each chunk.
  verdict = OK if trip <= delay_s else NOTE
  return [
    Finding('VLA', f'fingerprint {wire.vla_fingerprint[:12]}', OK),
    Finding('token', f'fingerprint {wire.token_fingerprint[:12]}', OK),
    Finding(
      'VLA, first answer',
      f'after {first:.1f} s',
      OK if first <= 1.0 else NOTE,
    ),
    Finding(
      'VLA answers',
      f'after {1e3 * trip:.0f} ms, of {1e3 * delay_s:.0f} that the bundle '
      f'allows; a chunk lasts {1e3 * chunk_s:.0f} ms',
      BAD if trip >= chunk_s else verdict,
    ),
  ]


def _ask(
  client: Any, request: dict, stamp: Any, clock: Clock, end: float
) -> Any:
  """Asks until an answer comes; returns None where none does before `end`."""
  asked = -np.inf
  while (now := clock.now()) < end:
    answer = client.latest()
    if answer is not None and answer.stamp == stamp:
      return answer
    # Again, because a connection that is lost drops what was asked on it. One
    # that still works takes the newest query only, and answers every query.
    if now - asked >= _ASK_AGAIN_S:
      client.ask(request, stamp)
      asked = now
    clock.sleep_until(now + 0.002)
  return None


def check_host(
  bundle: BundleSpec, folder: pathlib.Path, priority: str
) -> list[Finding]:
  """Checks versions, threads, priority and free space on the disk."""
  theirs = dict(bundle.run.get('versions', {}))
  own = {'python': platform.python_version()}
  own |= {x: importlib.metadata.version(x) for x in ('numpy', 'safetensors')}
  found = [
    Finding(x, f'{v}, of the bundle {theirs[x]}', NOTE)
    if theirs.get(x, v) != v
    else Finding(x, v, OK)
    for x, v in own.items()
  ]
  threads = os.environ.get('OMP_NUM_THREADS', 'unset')
  text = f'{threads}; with 1 the actor is fastest'
  verdict = OK if threads == '1' else NOTE
  found.append(Finding('OMP_NUM_THREADS', text, verdict))
  text = priority
  if priority == 'none':
    text = 'none: others may delay the loop; allow rtprio or CAP_SYS_NICE'
  found.append(Finding('priority', text, NOTE if priority == 'none' else OK))
  missing = [x for x in _REPORT if importlib.util.find_spec(x) is None]
  text = f'without {", ".join(missing)}: the run will have none'
  verdict = NOTE if missing else OK
  found.append(Finding('report', text if missing else 'can be made', verdict))
  free = shutil.disk_usage(folder).free
  text = f'{free / (1 << 30):.1f} GiB free'
  room = free >= _FREE_BYTES
  found.append(Finding('disk of the journal', text, OK if room else BAD))
  created = bundle.run.get('created', 'unknown')
  found.append(Finding('bundle', f'made {created}, now {_now()}', OK))
  return found


def _now() -> str:
  return time.strftime('%Y-%m-%dT%H:%M:%S%z')
