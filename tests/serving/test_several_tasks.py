"""A VLA of several tasks, in this process and served, for one of them."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlt_jax.rollout import perception
from rlt_jax.serving import vla_service
from rlt_jax.serving.embedder import LocalEmbedder
from rlt_jax.vlas.known_tasks import KnownTask, Measured
from rlt_jax.vlas.task_view import TaskView
from rlt_jax.vlas.vla import FrozenVla, ProprioStats, VlaOutput, VlaSpec


class Echo(FrozenVla):
  """Proposes the state that it reads; one token, its first entry."""

  def __init__(self):
    self.tasks = (KnownTask(name='plug', instruction='insert'),)
    self.params = jnp.ones(())
    self.spec = VlaSpec(
      cameras=('top',),
      image_size=4,
      proprio_dim=4,
      prompt_length=1,
      num_tokens=1,
      token_dim=1,
      horizon=3,
      action_dim=2,
      joint_names=('turn', 'slide'),
      control_hz=10.0,
      action_mode='offset',
      action_scale=(0.1, 0.2),
      fingerprint='echo',
      state='joints',
    )

  def apply_with_noise(self, params, observation, noise):
    state = params * observation.proprio
    assert state.shape[1:] == (4,)
    mask = jnp.ones((len(state), 1), bool)
    # Where the joints will be 10 s later.
    chunk = (state[:, :2] + 10.0 * state[:, 2:])[:, None] + 0.0 * noise
    return VlaOutput(state[:, :1, None], mask, mask, chunk)

  def tokenize(self, text):
    if text != 'insert':
      raise ValueError(f'An instruction must be known: {text!r}.')
    return np.ones(1, np.int32)

  def proprio_stats(self):
    return ProprioStats(jnp.zeros(4), jnp.ones(4))


def _token():
  spec = types.SimpleNamespace(
    vla_fingerprint='echo',
    fingerprint='token',
    z_dim=1,
    num_image_tokens=1,
    token_dim=1,
  )
  return types.SimpleNamespace(
    spec=spec, params=(), apply=lambda params, tokens, mask: tokens[:, 0]
  )


def _view(names=('x', 'y', 'z')):
  measured = Measured(names, (1.0,) * len(names), (2.0,) * len(names))
  task = KnownTask(name='plug', instruction='insert', action_scale=(0.2, 0.2))
  return TaskView(Echo(), task, measured)


def test_the_vla_reads_joints_and_the_agent_what_the_task_measures():
  embedder = LocalEmbedder(_view(), _token())
  assert embedder.takes_joints and embedder.spec.proprio_dim == 3
  assert embedder.spec.reads_joints
  images = {'top': np.zeros((4, 4, 4, 3), np.uint8)}
  proprio = np.full((4, 3), 5.0, np.float32)
  joints = np.arange(16, dtype=np.float32).reshape(4, 4)
  keys = jax.random.split(jax.random.key(0), 2)
  for out in (
    embedder.embed(images, proprio, 'insert', keys[0], joints),
    embedder.embed_each(images, proprio, 'insert', keys, joints),
  ):
    np.testing.assert_allclose(out.proprio, 2.0)
    np.testing.assert_allclose(out.z_rl[:, 0], joints[:, 0])
    # Half as many of a unit that is twice as large, for the first joint.
    expected = (joints[:, :2] + 10.0 * joints[:, 2:]) * np.array([0.5, 1.0])
    np.testing.assert_allclose(out.reference[:, 2], expected, rtol=1e-6)
  embedder.check_instruction('insert')
  with pytest.raises(ValueError, match="'lift'"):
    embedder.check_instruction('lift')


def test_a_server_takes_the_joints_that_begin_proprioception():
  view = _view(('turn.pos', 'slide.pos', 'turn.vel', 'slide.vel'))
  token = _token()
  spec = vla_service.make_spec(view, token)
  infer = vla_service.make_infer(view, token, spec, seed=0)
  reply = infer({
    'images/top': np.zeros((4, 4, 3), np.uint8),
    'proprio': np.array([1.0, 2.0, 0.5, -0.1], np.float32),
    'prompt': 'insert',
  })  # fmt: skip
  np.testing.assert_allclose(reply['reference'][0], [3.0, 1.0], rtol=1e-6)
  # Absolute joint targets: the pose, and the offset in rad and m.
  np.testing.assert_allclose(reply['actions'][0], [1.6, 2.2], rtol=1e-6)


@pytest.mark.parametrize(
  'names, fits',
  [
    (('turn.pos', 'slide.pos', 'turn.vel', 'slide.vel', 'force'), True),
    (('turn.pos', 'slide.pos', 'force.x', 'force.y'), False),
    (('turn.pos', 'slide.pos'), False),
  ],
)
def test_a_served_vla_of_joints_needs_their_rates_in_proprioception(
  names, fits
):
  task = types.SimpleNamespace(proprio_names=names)
  vla_service.check_state(
    types.SimpleNamespace(state='proprio', joint_names=('turn', 'slide')), task
  )
  spec = _view().spec
  if fits:
    vla_service.check_state(spec, task)
    return
  with pytest.raises(ValueError, match="from 'turn.pos' to 'slide.vel'"):
    vla_service.check_state(spec, task)


def test_a_task_without_rates_is_refused_by_a_vla_that_reads_them():
  task = types.SimpleNamespace(
    joint_rates=None, spec=types.SimpleNamespace(name='plug')
  )
  embedder = LocalEmbedder(_view(), _token())
  with pytest.raises(ValueError, match='plug has no joint_rates'):
    perception.make(task=task, embedder=embedder)
