"""A run with a loop and an evaluator that compute next to nothing."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.reporting.statistics import Episodes
from rlt_jax.training import loop as loop_lib
from rlt_jax.training import practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig

CONFIG = PracticeConfig(
  num_env_steps=6_000,
  eval_at_minutes=(1.0,),
  checkpoint_minutes=0.7,
  num_eval_episodes=3,
  num_final_episodes=4,
)
STEP = 500  # control steps of a round
_AGENT = SimpleNamespace(
  init=lambda key: {'w': jnp.zeros(3)},
  policy_params=lambda agent: agent,
  num_updates=lambda agent: int(agent['w'][0]),
  diagnose=None,
  diagnose_values=None,
)


class Events:
  """Calls a function the n-th time that something of a name happens."""

  def __init__(self):
    self.log: list[str] = []
    self._do = {}

  def on(self, name, count, do):
    self._do[name, count] = do

  def happen(self, name):
    self.log.append(name)
    if do := self._do.get((name, self.log.count(name))):
      do()


class FakeLoop:
  """Counts; a round consumes the learner's state as the real one does."""

  def __init__(self, events, weights=3):
    self._events, self._weights = events, weights

  def init(self):
    self._events.happen('init')
    none = np.full(4, -1, np.int32)
    return loop_lib.PracticeState(
      actors=SimpleActors(states=jnp.zeros(2)),
      learner=SimpleLearner(agent={'w': jnp.zeros(self._weights)}, rows=0),
      pending=jnp.zeros(1),
      policy={'w': np.zeros(self._weights, np.float32)},
      env_steps=STEP,
      outcome=none,
      length=none,
    )

  def compile(self, state):
    self._events.happen('compile')

  def run(self, state, until, on_round):
    while state.env_steps < until:
      consumed = state.learner.agent['w']
      weights = consumed + state.env_steps
      jax.block_until_ready(weights)
      consumed.delete()
      self._events.happen('round')
      state = state.replace(
        learner=SimpleLearner(
          agent={'w': weights}, rows=state.learner.rows + 1
        ),
        policy={'w': np.asarray(weights)},
        env_steps=state.env_steps + STEP,
      )
      on_round(state, {
        'round_s': 0.1, 'phase': 'practice', 'finite': 1.0,
        'beta_ratio': float(weights[0]),
      })  # fmt: skip
    return state


@chex.dataclass(frozen=True)
class SimpleActors:
  states: chex.Array
  human: None = None


@chex.dataclass(frozen=True)
class SimpleLearner:
  agent: dict
  rows: int


class FakeEvaluator:
  """An episode lasts as many steps as the first weight of the policy."""

  sizes = SimpleNamespace(large=1)

  def __init__(self, events):
    self._events = events

  def run(self, policy, count):
    self._events.happen('evaluation')
    features = SimpleNamespace(reference=np.zeros((1, 20, 2)))
    steps = np.full(count, 1 + int(policy(features, None).flat[0]))
    return Episodes(np.ones(count, bool), steps, np.ones(count, int)), []


def maker(monkeypatch):
  """Returns a function that makes a run on fakes: (workdir, ...) -> run."""
  spec = SimpleNamespace(vla_fingerprint='v', token_fingerprint='t')
  setup = SimpleNamespace(
    embedder=SimpleNamespace(spec=spec),
    task=SimpleNamespace(
      spec=SimpleNamespace(
        control_hz=50.0,
        name='ethernet-0.30mm',
        instruction='insert the ethernet plug into the socket',
      )
    ),
    rollout_fns=None,
    perception=None,
    human=None,
    agent=_AGENT,
  )
  monkeypatch.setattr(setup_lib, 'make', lambda *_: setup)

  def policy(agent, params, *, chunk_size, explore):
    return lambda features, key: params['w'] + explore

  monkeypatch.setattr(
    practice_run.experiment_lib.evaluator_lib, 'agent_policy', policy
  )

  def make_run(workdir, *, resume=False, events=None, config=CONFIG, weights=3):
    events = events or Events()
    for owner, name, made in (
      (setup_lib, 'make_evaluator', FakeEvaluator(events)),
      (loop_lib, 'Practice', FakeLoop(events, weights)),
    ):
      monkeypatch.setattr(owner, name, lambda *_, made=made, **__: made)
    return practice_run.PracticeRun(
      workdir=workdir, config=config, resume=resume
    )

  return make_run
