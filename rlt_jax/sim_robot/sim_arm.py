"""A task's scene under C MuJoCo in real time, as an arm.

It has the methods of `rlt_jax.robot.arm.Arm`, so that the control loop of real
arms can drive it.
"""

import threading

import numpy as np

from rlt_jax.robot.arm import ArmSpec, Reading
from rlt_jax.robot.clock import Clock
from rlt_jax.tasks.task import State, Task
from rlt_jax.types import PRNGKey

_CATCH_UP_S = 1.0  # of a longer pause only this much is simulated
_STOW_SPEED = 0.25  # of the joint's largest velocity
_STOW_GAP_S = 0.05  # longest time between two calls that moves the targets


class SimArm:
  """A simulated bench as an arm; its physics runs in real time.

  Every call first steps the physics up to the current time. Calls may come from
  several threads. Misuse raises ValueError.
  """

  def __init__(self, spec: ArmSpec, task: Task, *, clock: Clock):
    """Builds the bench, with the arms at home.

    Args:
      spec: gives joint_names, max_velocity and stow.
      task: gives the bench.
      clock: of the control loop; the physics follows it.

    Raises:
      ValueError: names or units of the spec's joints are not the task's, or
        the task has no bench.
    """
    for name in ('joint_names', 'joint_units'):
      expected, found = getattr(task.spec, name), getattr(spec, name)
      if tuple(found) != expected:
        raise ValueError(
          f'{name} of the arm {spec.name!r} must be those of the task '
          f'{task.spec.name}, {expected}: {tuple(found)}.'
        )
    if task.make_bench is None:
      raise ValueError(
        f'A simulated arm needs a task with make_bench: {task.spec.name}.'
      )
    self.spec, self._clock = spec, clock
    self._bench = task.make_bench()
    self._reset = task.compile(task.reset)
    self._max_reach = np.array(task.spec.max_reach)
    self._lock = threading.RLock()
    self._connected = False
    self._restart()

  def connect(self) -> None:
    """Starts the physics and switches the motors on."""
    with self._lock:
      self._bench.power(True)
      self._start_time = self._clock.now() - self._steps * self._bench.timestep
      self._ramp, self._connected = None, True

  def observe(self) -> Reading:
    """Returns the joints."""
    with self._lock:
      self._advance()
      return Reading(
        self._bench.positions(),
        self._bench.velocities(),
        self._start_time + self._steps * self._bench.timestep,
      )

  def command(self, target: np.ndarray) -> np.ndarray:
    """Sends targets [A] (rad, m); returns them as limited by the task.

    Raises:
      ValueError: a shape that is not [A], or a number that is not finite.
    """
    target = np.asarray(target, np.float64)
    shape = (len(self.spec.joint_names),)
    if target.shape != shape or not np.isfinite(target).all():
      raise ValueError(f'target must be {shape}, finite: {target}.')
    with self._lock:
      self._advance()
      self._ramp, self._holding = None, False
      return self._bench.set_targets(target)

  def hold(self) -> None:
    """Holds the measured pose. Repeated calls keep that of the first call."""
    with self._lock:
      self._advance()
      self._ramp = None
      if not self._holding:
        self._bench.stay()
        self._holding = True

  def stow(self) -> bool:
    """Moves toward `spec.stow`; returns True when it is there."""
    with self._lock:
      self._advance()
      now, goal = self._clock.now(), np.array(self.spec.stow, np.float64)
      target, before = self._ramp or (self._bench.positions(), now)
      step = np.array(self.spec.max_velocity) * _STOW_SPEED
      step *= np.clip(now - before, 0.0, _STOW_GAP_S)
      target = target + np.clip(goal - target, -step, step)
      target = self._bench.set_targets(target)
      self._ramp, self._holding = (target, now), False
      there = np.abs(self._bench.positions() - goal) <= self._max_reach
      return bool(there.all() and np.array_equal(target, goal))

  def disable(self) -> None:
    """Switches the motors off until connect()."""
    with self._lock:
      self._advance()
      self._bench.power(False)

  def disconnect(self) -> None:
    """Stops the physics."""
    with self._lock:
      self._connected = False

  def start_episode(self, key: PRNGKey) -> None:
    """Starts the episode that `Task.reset` draws from the key (consumed)."""
    self.place(self._reset(key))

  def place(self, state: State) -> None:
    """Starts an episode in a state of one world, at rest."""
    with self._lock:
      self._bench.place(state)
      self._restart()

  def success(self) -> bool:
    """Returns whether the goal is reached now, by poses alone."""
    with self._lock:
      self._advance()
      return self._bench.success()

  def outcome(self) -> int:
    """Returns the episode's `Outcome`, judged every control period."""
    with self._lock:
      self._advance()
      return self._bench.outcome()

  def world(self) -> State:
    """Returns the state with a leading [1], as `Task.render` takes it."""
    with self._lock:
      self._advance()
      return self._bench.world()

  def _restart(self) -> None:
    """Sets the start of the episode to now."""
    self._start_time, self._steps = self._clock.now(), 0
    self._holding = False
    self._ramp: tuple[np.ndarray, float] | None = None

  def _advance(self) -> None:
    """Steps the physics up to the current time."""
    if not self._connected:
      raise ValueError('connect() must come before everything else.')
    timestep = self._bench.timestep
    elapsed = self._clock.now() - self._start_time
    num_steps = int(elapsed / timestep + 1e-6) - self._steps
    skipped = max(num_steps - round(_CATCH_UP_S / timestep), 0)
    self._start_time += skipped * timestep
    for _ in range(num_steps - skipped):
      self._bench.step()
      self._steps += 1
