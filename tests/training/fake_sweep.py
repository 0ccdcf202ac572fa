"""A sweep with a loop and an evaluator that compute next to nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.training import loop as loop_lib
from rlt_jax.training import multi_seed, sweep
from rlt_jax.training import setup as setup_lib
from tests.training import fake_run

CONFIG = dataclasses.replace(fake_run.CONFIG, num_env_steps=4_000)
SEEDS = (3, 5)
_NUM = len(SEEDS)


class FakeLoop:
  """Counts for each seed, as `multi_seed.MultiSeed` does."""

  def __init__(self, events):
    self._events = events

  def init(self):
    none = np.full((_NUM, 4), -1, np.int32)
    return loop_lib.PracticeState(
      actors=fake_run.SimpleActors(states=jnp.zeros((_NUM, 2))),
      learner=fake_run.SimpleLearner(
        agent={'w': jnp.zeros((_NUM, 3))}, rows=np.zeros(_NUM, int)
      ),
      pending=jnp.zeros((_NUM, 1)),
      policy={'w': np.zeros((_NUM, 3), np.float32)},
      env_steps=np.full(_NUM, fake_run.STEP),
      outcome=none,
      length=none,
    )

  def compile(self, state):
    pass

  def run(self, state, on_round):
    while (active := state.env_steps < CONFIG.num_env_steps).any():
      self._events.happen('round')
      weights = state.learner.agent['w'] + np.where(active, 1.0, 0.0)[:, None]
      state = state.replace(
        learner=fake_run.SimpleLearner(
          agent={'w': weights}, rows=state.learner.rows + active
        ),
        policy={'w': np.asarray(weights)},
        env_steps=state.env_steps + fake_run.STEP * active,
      )
      metrics = {'round_s': 0.1, 'phase': 'practice', 'finite': 1.0}
      on_round(state, [dict(metrics) if x else None for x in active])
    return state

  def split_one(self, state, index):
    one = jax.tree.map(lambda x: x[index], state)
    return one.replace(
      env_steps=int(one.env_steps),
      learner=fake_run.SimpleLearner(
        agent=one.learner.agent, rows=int(one.learner.rows)
      ),
    )

  def split(self, state):
    return [self.split_one(state, i) for i in range(_NUM)]

  def join(self, states):
    return jax.tree.map(lambda *x: np.stack(x), *states)


def maker(monkeypatch):
  """Returns a function that makes a sweep on fakes: (workdir, ...) -> sweep."""
  fake_run.maker(monkeypatch)  # task, VLA, agent and its policy

  def num_updates(agent):
    return np.asarray(agent['w'])[:, 0].astype(int)

  agent = setup_lib.make(CONFIG, '').agent
  monkeypatch.setattr(agent, 'num_updates', num_updates)

  def make_sweep(workdir, *, resume=False, events=None):
    events = events or fake_run.Events()
    for owner, name, made in (
      (setup_lib, 'make_evaluator', fake_run.FakeEvaluator(events)),
      (multi_seed, 'MultiSeed', FakeLoop(events)),
    ):
      monkeypatch.setattr(owner, name, lambda *_, made=made, **__: made)
    return sweep.Sweep(
      workdir=workdir, config=CONFIG, seeds=SEEDS, resume=resume
    )

  return make_sweep
