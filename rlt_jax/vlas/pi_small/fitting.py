"""Trains the VLA on demonstrations, by steps or by the clock."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.sitting import Sitting
from rlt_jax.types import Params
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import training_loop
from rlt_jax.vlas.pi_small import dataset, model, validate
from rlt_jax.vlas.pi_small import train as train_lib
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.objective import LossConfig
from rlt_jax.vlas.pi_small.train import PARTS, TrainConfig
from rlt_jax.vlas.task_mix import TaskMix

_HELD_OUT_ROWS = 512  # measured at a time; half of that of each task of a mix
_NORM_ROWS = 20_000  # frames of several tasks, drawn as batches are


def _choose_norm(
  demos: demos_lib.Demos,
  rows: np.ndarray,
  start: Params | None,
  *,
  config: PiConfig,
  train: TrainConfig,
) -> model.VlaNorm:
  """Returns the statistics of rows to train on, or those of a fixed prefix."""
  if start is not None and 'prefix' not in PARTS[train.part]:
    norm = start['norm']
  else:
    light = demos.frames._replace(images={})
    norm = dataset.measure(demos_lib.take(light, rows), config)
  return jax.tree.map(jnp.asarray, norm)


_READ_BY_A_STEP = (
  'part',
  'batch_size',
  'weight_decay',
  'clip_norm',
  'ema_rate',
)


class _Fit(training_loop.Fit):
  """One training of the small VLA."""

  def __init__(
    self,
    demos: demos_lib.Demos,
    *,
    config: PiConfig,
    train: TrainConfig,
    loss: LossConfig,
    start: Params | None,
    sitting: Sitting,
    settings: Mapping[str, Any],
    mix: TaskMix | None,
  ):
    """Checks everything and restores a saved state; see `fit`."""
    if not sitting.resumed:
      train_lib.check_start(train, start)
    dataset.check(demos, config)
    super().__init__(demos, train, sitting, mix)
    self._static = {
      'config': config,
      'train': _for_one_step(train),
      'loss': loss,
    }
    rows = self._rows
    if mix is not None:
      rng = np.random.default_rng(train.seed)
      rows = mix.draw([rows for rows, _ in self._parts], _NORM_ROWS, rng)
    norm = _choose_norm(demos, rows, start, config=config, train=train)
    state = train_lib.init_state(
      self._init_key, config=config, train=train, start=start
    )
    self.begin({'train': state, 'norm': norm}, settings)

  def update(self, state, batch, rate, key):
    """Takes a step; see `training_loop.Fit`."""
    norm = self._kept['norm']
    return train_lib.train_step(state, batch, norm, rate, key, **self._static)

  def validate(self, params: Params) -> tuple[Params, dict[str, float]]:
    """Returns params with 'norm', and the errors; see `validate`."""
    params = params | {'norm': self._kept['norm']}
    if self._mix is None:
      return params, self._measure(params, self._demos, self._held_out)
    results = {}
    for name, (_, rows) in zip(self._mix.names(), self._parts, strict=True):
      found = self._measure(params, self._demos, rows)
      if self._prompts:
        found |= self._measure_rest(params, rows)
      results |= {f'{name}/{key}': value for key, value in found.items()}
    return params, results

  def _measure(
    self, params: Params, demos: demos_lib.Demos, rows: np.ndarray
  ) -> dict[str, float]:
    return validate.evaluate(
      params,
      demos,
      rows,
      config=self._static['config'],
      loss=self._static['loss'],
      max_rows=_HELD_OUT_ROWS if self._mix is None else _HELD_OUT_ROWS // 2,
    )

  def _measure_rest(self, params: Params, rows: np.ndarray) -> dict[str, float]:
    """Returns 'rest_*': how far chunks move that other tasks were told."""
    place = np.linspace(0, len(rows) - 1, _HELD_OUT_ROWS // 2).astype(int)
    demos = dataclasses.replace(
      self._demos, frames=self.show(np.unique(rows[place]), 1.0)
    )
    found = self._measure(params, demos, np.arange(len(demos)))
    return {
      key.replace('chunk', 'rest'): value
      for key, value in found.items()
      if key.startswith('chunk')
    }


def _for_one_step(train: TrainConfig) -> TrainConfig:
  """Returns settings that are equal where a compiled step is the same."""
  return dataclasses.replace(
    TrainConfig(),
    **{name: getattr(train, name) for name in _READ_BY_A_STEP},
  )


def fit(
  demos: demos_lib.Demos,
  *,
  config: PiConfig,
  train: TrainConfig,
  loss: LossConfig,
  log: Callable[[dict[str, float]], None],
  save: Callable[[Params, dict[str, float]], None],
  start: Params | None = None,
  sitting: Sitting | None = None,
  settings: Mapping[str, Any] | None = None,
  mix: TaskMix | None = None,
) -> tuple[Params, dict[str, float]]:
  """Trains on the demos; returns averaged params with 'norm', and results.

  Args:
    demos: checked against `config` here.
    config, train, loss: all that matters, with the seed in `train`.
    log: called every `log_every` steps.
    save: called with params and validation every `save_every_s` seconds.
    start: trained params to continue from; None starts from random ones. If
      the prefix is not trained, its readout's statistics do not change either.
    sitting: keeps the state, so that a training that was interrupted ends as an
      unbroken one of as many steps; None keeps nothing.
    settings: for `Sitting.restore`.
    mix: of the demos, where they are of several tasks; results are then of
      each task, as 'task/name'.

  Raises:
    ValueError: the demos do not fit, or the prefix stays as it is and there is
      none to start from.
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  sitting = sitting or Sitting()
  run = _Fit(
    demos,
    config=config,
    train=train,
    loss=loss,
    start=start,
    sitting=sitting,
    settings=settings or {},
    mix=mix,
  )
  return training_loop.run(run, train, log=log, save=save, sitting=sitting)
