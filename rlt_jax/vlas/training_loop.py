"""The loop that trains a VLA, by steps or by the clock, in several sittings.

What is trained, and on what, is a `Fit`. The loop has what all share: rate,
logs, saves, signals.
"""

import abc
from collections.abc import Callable, Mapping
import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import signals
from rlt_jax.sitting import Sitting, spell_progress
from rlt_jax.types import Params, PRNGKey
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import task_mix
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.task_mix import TaskMix


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
  """Optimizer, length and intervals of one training."""

  steps: int = 6_000  # the cosine ends here, or at `minutes`
  minutes: float | None = None  # wall clock; whichever comes first
  batch_size: int = 64  # frames per step
  learning_rate: float = 8e-4  # peak; from-scratch widths
  warmup_steps: int = 200  # linear rise to the peak
  final_lr_share: float = 0.02  # of the peak, at the end of the cosine
  weight_decay: float = 1e-4  # decoupled
  clip_norm: float = 1.0  # global norm of the gradient
  ema_rate: float = 0.998  # of the weights that are written
  held_out: float = 0.05  # share of episodes that validate
  log_every: int = 50  # steps
  save_every_s: float = 240.0  # a killed training repeats no more
  seed: int = 0

  def __post_init__(self):
    if self.steps < 1 or self.batch_size < 1 or self.log_every < 1:
      raise ValueError(
        'steps, batch_size and log_every must be positive: '
        f'{self.steps}, {self.batch_size}, {self.log_every}.'
      )
    if self.minutes is not None and not 0.0 < self.minutes < math.inf:
      raise ValueError(f'minutes must be positive or None: {self.minutes}.')
    if self.seed < 0:
      raise ValueError(f'seed must not be negative: {self.seed}.')
    for name in ('learning_rate', 'clip_norm', 'save_every_s'):
      if not getattr(self, name) > 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')
    for name in ('ema_rate', 'held_out', 'final_lr_share'):
      if not 0.0 <= getattr(self, name) < 1.0:
        raise ValueError(f'{name} must be in [0, 1): {getattr(self, name)}.')
    if self.weight_decay < 0.0 or self.warmup_steps < 0:
      raise ValueError(
        'weight_decay and warmup_steps must not be negative: '
        f'{self.weight_decay}, {self.warmup_steps}.'
      )


# A longer or shorter training goes on from the same state.
MAY_CHANGE = ('steps', 'minutes', 'log_every', 'save_every_s')


def make_optimizer(config: LoopConfig) -> optax.GradientTransformation:
  """Returns AdamW without its rate: each step brings its own."""
  return optax.chain(
    optax.clip_by_global_norm(config.clip_norm),
    optax.scale_by_adam(b1=0.9, b2=0.95),
    optax.add_decayed_weights(config.weight_decay),
  )


def learning_rate(step: int, share: float, config: LoopConfig) -> float:
  """Returns the rate after `share` in [0, 1] of the training is done."""
  cosine = 0.5 * (1.0 + np.cos(np.pi * min(max(share, 0.0), 1.0)))
  low = config.final_lr_share
  warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
  return config.learning_rate * warmup * (low + (1.0 - low) * cosine)


class Fit(abc.ABC):
  """One training on demonstrations: its state, and how far it has come.

  A subclass has what is trained, as `update` and `measure`, and calls `begin`
  once it has a state.
  """

  def __init__(
    self,
    demos: Demos,
    train: LoopConfig,
    sitting: Sitting,
    mix: TaskMix | None = None,
  ):
    """Splits the demonstrations and seeds all that is drawn.

    Args:
      demos: the frames.
      train: the settings.
      sitting: keeps states.
      mix: of the demonstrations, where they are of several tasks. Each task
        holds out episodes of its own.

    Raises:
      ValueError: fewer frames than a batch has.
    """
    self.step = 0
    self._demos, self._sitting = demos, sitting
    self._size, self._mix = train.batch_size, mix
    groups = [np.arange(len(demos))] if mix is None else mix.rows
    self._parts = []  # (rows that train, rows held out) of each task
    for rows in groups:
      parts = demos_lib.split_episodes(
        demos.frames.episode[rows], train.held_out, train.seed
      )
      self._parts.append([rows[part] for part in parts])
    self._rows, self._held_out = map(
      np.concatenate, zip(*self._parts, strict=True)
    )
    if train.batch_size > len(self._rows):
      raise ValueError(
        f'batch_size must be at most the {len(self._rows)} frames to train on: '
        f'{train.batch_size}.'
      )
    self._seed = train.seed
    self._order = np.random.default_rng(train.seed)
    self._init_key, self._step_key = jax.random.split(
      jax.random.key(train.seed)
    )
    self._prompts = mix.prompts() if mix is not None and mix.rest_share else ()
    self._kept: dict[str, Any] = {}

  def begin(self, kept: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Restores what an earlier sitting kept, or keeps the beginning.

    Args:
      kept: arrays of a training at its beginning; 'train' has its `step`.
      settings: for `Sitting.restore`.
    """
    begun = self._sitting.restore({**kept, 'elapsed_s': 0.0}, settings)
    self._began = time.monotonic() - begun.pop('elapsed_s')
    self._kept = begun
    self.step = int(begun['train'].step)
    for _ in range(self.step):
      self._draw_rows()
    if not self._sitting.resumed:
      self.keep()

  @property
  def elapsed_s(self) -> float:
    """Wall clock spent so far, of all sittings."""
    return time.monotonic() - self._began

  def keep(self) -> None:
    """Saves the state for another sitting."""
    self._sitting.save(self.step, self._kept | {'elapsed_s': self.elapsed_s})

  def advance(
    self, rate: float, call: Callable[..., Any]
  ) -> dict[str, jax.Array]:
    """Takes a step at a learning rate; `call` calls the compiled function."""
    share = self._mix.rest_share if self._mix else 0.0
    batch = self.show(self._draw_rows(), share)
    key = jax.random.fold_in(self._step_key, self.step)
    self._kept['train'], metrics = call(
      self.update, self._kept['train'], batch, jnp.float32(rate), key
    )
    self.step += 1
    return metrics

  def measure(
    self, call: Callable[..., Any]
  ) -> tuple[Params, dict[str, float]]:
    """Returns averaged params, and what held-out frames say."""
    # A copy, as the next step takes the state's own arrays.
    params = jax.tree.map(jnp.copy, self._kept['train'].ema)
    params, results = call(self.validate, params)
    return params, results | {'step': self.step, 'train_s': self.elapsed_s}

  @abc.abstractmethod
  def update(
    self, state: Any, batch: DemoBatch, rate: jax.Array, key: PRNGKey
  ) -> tuple[Any, dict[str, jax.Array]]:
    """Returns the state after a gradient step, and its figures.

    Args:
      state: donated; it has `step` and `ema`.
      batch: of the rows that train.
      rate: [] learning rate.
      key: consumed.
    """

  @abc.abstractmethod
  def validate(self, params: Params) -> tuple[Params, dict[str, float]]:
    """Returns params as they are written, and errors on held-out frames."""

  def show(self, rows: np.ndarray, rest_share: float) -> DemoBatch:
    """Returns frames, a share of them as `task_mix.rest` shows them.

    What is drawn depends on seed and step alone.
    """
    batch = demos_lib.take(self._demos.frames, rows)
    if not self._prompts:
      return batch
    # Not from `_order`: a training that goes on repeats its draws of rows.
    rng = np.random.default_rng((self._seed, self.step))
    task = self._mix.task_of(rows)
    return task_mix.rest(batch, task, self._prompts, rest_share, rng)

  def _draw_rows(self) -> np.ndarray:
    if self._mix is not None:
      rows = [rows for rows, _ in self._parts]
      return self._mix.draw(rows, self._size, self._order)
    order = self._order.integers(len(self._rows), size=self._size)
    return self._rows[order]


class _Watch:
  """Time since the last save, and per step since the last look."""

  def __init__(self, step: int):
    self._saved = self._looked = time.monotonic()
    self._step = step

  def since_save_s(self) -> float:
    return time.monotonic() - self._saved

  def step_s(self, step: int) -> float:
    now, steps = time.monotonic(), max(1, step - self._step)
    seconds = (now - self._looked) / steps
    self._looked, self._step = now, step
    return seconds


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
  return function(*arguments)


def _share_done(step: int, elapsed_s: float, train: LoopConfig) -> float:
  """Returns the share of the training that is done, by steps or by time."""
  share = step / train.steps
  if train.minutes is not None:
    share = max(share, elapsed_s / (60.0 * train.minutes))
  return share


def check_finite(figures: Mapping[str, float], step: int) -> None:
  """Raises a FloatingPointError with all figures if one is not finite."""
  if not all(map(math.isfinite, figures.values())):
    raise FloatingPointError(
      f'A training must stay finite; it diverged before step {step}: {figures}.'
    )


def run(
  fit: Fit,
  train: LoopConfig,
  *,
  log: Callable[[dict[str, float]], None],
  save: Callable[[Params, dict[str, float]], None],
  sitting: Sitting,
) -> tuple[Params, dict[str, float]]:
  """Trains to the end; returns the last `Fit.measure`.

  Args:
    fit: at its beginning, or restored.
    train: length, rate and intervals.
    log: called every `log_every` steps.
    save: called with params and validation every `save_every_s` seconds.
    sitting: shows progress.

  Raises:
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  watch, figures = _Watch(fit.step), {}
  with signals.StopRequest('after this step') as stop:
    call = stop.call  # of what is not compiled yet
    while (share := _share_done(fit.step, fit.elapsed_s, train)) < 1.0:
      rate = learning_rate(fit.step, share, train)
      metrics = fit.advance(rate, call)
      call = _call
      if fit.step % train.log_every == 0:
        figures = {name: float(x) for name, x in metrics.items()}
        check_finite(figures, fit.step)
        times = {'elapsed_s': fit.elapsed_s, 'step_s': watch.step_s(fit.step)}
        log(figures | {'step': fit.step, 'rate': rate} | times)
      sitting.show(
        spell_progress(fit.step, train.steps, fit.elapsed_s, share, **figures)
      )
      if watch.since_save_s() > train.save_every_s or stop.requested:
        fit.keep()
        stop.raise_if_stopped()
        save(*fit.measure(stop.call))
        watch = _Watch(fit.step)
    fit.keep()
    sitting.say('Measuring on held-out demonstrations.')
    return fit.measure(stop.call)
