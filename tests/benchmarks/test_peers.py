"""A peer that computes something else is no peer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import floor, inputs
from benchmarks.peers import fast_path, naive_jax
from rlt_jax import replay
from rlt_jax.agents import rlt
from rlt_jax.agents.rlt import fused_update

_Z, _ROWS = 8, 64
_CONFIG = rlt.RltConfig(
  hidden_dims=(32, 32), exploration_std=0.0, batch_size=16, beta=1e-3
)


@pytest.fixture(scope='module')
def nets():
  return rlt.make_networks(_CONFIG, _Z, 28, 10, 14)


@pytest.fixture(scope='module')
def rows():
  return inputs.make_rows(jax.random.key(1), _Z, _ROWS)


@pytest.fixture(scope='module')
def batch(rows):
  return jax.tree.map(lambda x: x[:16], rows)


def _start(nets):
  return rlt.init(jax.random.key(0), nets)


def _ours(nets, batch, steps):
  """Returns losses of `steps` critic steps, then an actor step; the state."""
  critic = jax.jit(functools.partial(fused_update.critic_step, nets))
  actor = jax.jit(functools.partial(fused_update.actor_step, nets))
  successor = batch.next_z_rl, batch.next_proprio, batch.next_ref_chunk
  state, losses = _start(nets), []
  for _ in range(steps):
    # No noise: exploration_std is 0.
    chunk = nets.actor(state.actor_params, *successor)
    state, metrics = critic(state, batch, chunk)
    losses.append(float(metrics['critic_loss']))
  state, metrics = actor(state, batch, jax.random.key(9))
  return [*losses, float(metrics['actor_loss'])], state


def test_the_naive_form_takes_the_same_steps(nets, rows, batch):
  expected, ours = _ours(nets, batch, 5)
  peer = naive_jax.NaiveUpdate(nets, _start(nets), rows, _ROWS, 0)
  found = [float(peer.critic_step(batch, jax.random.key(i))) for i in range(5)]
  found.append(float(peer.actor_step(batch, jax.random.key(9))))
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  for name in ('actor_params', 'critic_params', 'target_critic_params'):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
      getattr(peer.state, name),
      getattr(ours, name),
    )


@pytest.mark.parametrize('form', ['plain', 'stacked', 'rlinf'])
def test_pytorch_takes_the_same_steps(form, nets, rows, batch):
  torch = pytest.importorskip('torch')
  from benchmarks.peers import torch_update

  expected, _ = _ours(nets, batch, 5)
  shared = inputs.Shared(None, _CONFIG, nets, rows)
  peer = torch_update.make(shared, torch_update.tensors(rows), form)
  own = torch_update.tensors(batch)
  noise = torch.zeros(16, 140)
  found = [peer.critic_step(own, noise).item() for _ in range(5)]
  shown = jax.random.bernoulli(
    jax.random.split(jax.random.key(9))[0], 0.5, (16,)
  )
  shown = torch.from_numpy(np.array(shown, np.float32))[:, None]
  found.append(peer.actor_step(own, noise, shown).item())
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_floor_counts_what_xla_counts():
  # One critic's forward pass: XLA's own count of its products.
  sizes = floor.Sizes(64, 28, 140, (256, 256), 128, 1)
  layers = [(232, 256), (256, 256), (256, 1)]

  def forward(x, weights):
    for w in weights:
      x = x @ w
    return x

  args = jnp.zeros((128, 232)), [jnp.zeros(s) for s in layers]
  counted = jax.jit(forward).lower(*args).compile().cost_analysis()['flops']
  expected = sum(p.flops for p in floor._forward(128, layers))
  assert abs(counted / expected - 1) < 0.01
  whole = floor.products(sizes)
  assert floor.flops(sizes) > 4 * expected
  assert sum(p.flops * n for p, n in whole.items()) == floor.flops(sizes)


def test_rows_hold_their_shapes(rows):
  spec = replay.transition_spec(_Z, 28, 10, 14)
  for x, y in zip(jax.tree.leaves(rows), jax.tree.leaves(spec), strict=True):
    assert x.shape == (_ROWS, *y.shape) and x.dtype == y.dtype


def test_the_fast_path_process_answers_and_says_when_it_ends():
  pytest.importorskip('torch')
  size = {'z_dim': 8, 'hidden': (32,), 'batch': 16, 'critics': 2}
  size |= {'capacity': 64, 'cycles': 1}
  with fast_path.Peers(size, [('plain', False), ('rlinf', False)]) as peers:
    peers.call(0)
    peers.call(1)
    with pytest.raises(RuntimeError, match='it ended with status 1'):
      peers.call(2)


def test_the_fast_path_needs_a_compiler(monkeypatch, tmp_path):
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(FileNotFoundError, match='cc or gcc: none found'):
    fast_path.compiler()
