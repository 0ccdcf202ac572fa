import dataclasses

import jax
import numpy as np
import pytest

from rlt_jax.vlas.pi_small import fitting, pi_vla, train
from rlt_jax.vlas.pi_small.objective import LossConfig
from tests.giving_up import given_up

_TRAIN = train.TrainConfig(
  steps=300,
  batch_size=32,
  learning_rate=3e-3,
  warmup_steps=20,
  ema_rate=0.98,
  held_out=0.1,
  log_every=50,
)


# Two steps, each followed by a save.
_SHORT = {'steps': 2, 'save_every_s': 1e-6}
_LOSS = LossConfig(brightness=2.0, contrast=0.0, pixel_noise=1.0)


def _fit(demos, config, logs=None, saves=None, **changes):
  return fitting.fit(
    demos,
    config=config,
    train=dataclasses.replace(_TRAIN, **changes),
    loss=_LOSS,
    log=[].append if logs is None else logs.append,
    save=lambda *x: None if saves is None else saves.append(x),
  )


def test_learns_a_chunk_that_depends_on_the_images(config, demos):
  logs, saves = [], []
  _, results = _fit(demos, config, logs, saves)
  assert not saves, 'shorter than save_every_s'
  assert [x['step'] for x in logs] == list(range(50, 301, 50))
  assert logs[-1]['flow_loss'] < 0.7 * logs[0]['flow_loss']
  # On episodes it has not seen, in rad: far better than not moving.
  for name in ('tip', 'turn'):
    assert results[f'readout_{name}_rms'] < 0.35 * results[f'still_{name}_rms']
  assert results['chunk_4_rms'] < 0.5 * results['still_4_rms']
  level = demos.frames.chunk[:, -1] * demos.action_scale
  still = np.sqrt(np.square(level).mean())
  assert 0.6 < results['still_4_rms'] / still < 1.4


def test_saves_loadable_weights_on_the_way(config, demos, tmp_path):
  saves = []
  _fit(demos, config, saves=saves, **_SHORT)
  params, results = saves[0]
  assert results['step'] == 1 and results['train_s'] > 0.0
  vla = pi_vla.make(
    params,
    config,
    **demos.action_facts(),
  )
  pi_vla.save(tmp_path, vla, metrics=results, command=[], seed=0)
  assert pi_vla.load(tmp_path).spec == vla.spec


def test_same_seed_same_weights(config, demos):
  runs = [_fit(demos, config, **_SHORT, seed=seed)[0] for seed in (0, 0, 1)]
  first, again, other = (jax.tree.leaves(x) for x in runs)
  assert all(map(np.array_equal, first, again))
  assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize('part', ['all', 'prefix', 'expert'])
def test_only_the_part_that_learns_moves(config, demos, part):
  logs, short = [], {**_SHORT, 'learning_rate': 1e-2, 'warmup_steps': 0}
  begun, _ = _fit(demos, config, **short, seed=1)
  params, _ = fitting.fit(
    demos,
    config=config,
    train=dataclasses.replace(_TRAIN, **short, part=part, log_every=1),
    loss=_LOSS,
    log=logs.append,
    save=lambda *_: None,
    start=begun,
  )
  for name in train.PARTS['all']:
    gaps = jax.tree.map(
      lambda x, y: np.abs(x - y).max(), params[name], begun[name]
    )
    gap = max(jax.tree.leaves(gaps))
    assert gap > 1e-4 if name in train.PARTS[part] else gap == 0.0, name
  assert all(('flow_loss' in x) == (part != 'prefix') for x in logs)
  if part == 'expert':
    jax.tree.map(np.testing.assert_array_equal, params['norm'], begun['norm'])


def test_an_expert_alone_needs_a_prefix_that_sees(config, demos):
  with pytest.raises(ValueError, match="'expert', start None"):
    _fit(demos, config, **_SHORT, part='expert')


def test_stops_by_the_clock(config, demos):
  _, results = _fit(demos, config, steps=10**6, minutes=1e-9)
  assert results['step'] == 0


@pytest.mark.parametrize(
  'field, value',
  [('minutes', 0.0), ('ema_rate', 1.0), ('batch_size', 0), ('part', 'stem')],
)
def test_config_refuses(field, value):
  with pytest.raises(ValueError, match=field):
    train.TrainConfig(**{field: value})


def test_goes_on_from_trained_weights_with_the_demos_own_statistics(
  config, demos
):
  params, _ = _fit(demos, config, **_SHORT)
  norm = params['norm']
  foreign = jax.tree.map(np.zeros_like, norm)
  on, _ = fitting.fit(
    demos,
    config=config,
    train=dataclasses.replace(_TRAIN, **_SHORT, learning_rate=1e-12),
    loss=_LOSS,
    log=[].append,
    save=lambda *_: None,
    start=params | {'norm': foreign},
  )
  jax.tree.map(np.testing.assert_array_equal, on['norm'], norm)
  for name in ('prefix', 'expert', 'readout'):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
      on[name],
      params[name],
    )


def test_drawing_the_first_weights_is_given_up_at_a_signal(config, monkeypatch):
  with given_up() as compiling:
    monkeypatch.setattr(train.model, 'init_params', compiling)
    train.init_state(jax.random.key(0), config=config, train=_TRAIN)
