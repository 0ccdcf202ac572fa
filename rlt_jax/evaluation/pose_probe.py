"""Measures how well a small network predicts the true pose from features.

It needs a simulator, since the true pose is privileged.
"""

from collections.abc import Callable, Sequence
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlt_jax import signals
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.sim import kinematics, two_arm_bench
from rlt_jax.tasks.ethernet import scene as scene_lib
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.insertion.scene import Scene
from rlt_jax.tasks.insertion.state import State
from rlt_jax.tasks.task import Task
from rlt_jax.types import Array, Observation, PRNGKey
from rlt_jax.vlas.vla import FrozenVla

AXES = ('x_mm', 'y_mm', 'z_mm', 'about_x_deg', 'about_y_deg', 'about_z_deg')
_ACROSS, _HEIGHT, _TURN = 1e-3, (-1e-3, 6e-3), np.deg2rad(2.0)
_BATCH = 20  # poses rendered at a time
_HELD_OUT = 0.1


def draw(key: PRNGKey, task: Task, scene: Scene) -> State:
  """Returns a State with the plug near the mouth; `key` is consumed."""
  keys = jax.random.split(key, 4)
  state, right = task.reset(keys[0]), scene.right
  low, high = _HEIGHT
  place = jnp.append(
    _ACROSS * jax.random.normal(keys[1], (2,)),
    jax.random.uniform(keys[2], minval=low, maxval=high),
  )
  turn = kinematics.rotation(_TURN * jax.random.normal(keys[3], (3,)))
  socket = kinematics.rotation(state.socket_rot)
  arm = kinematics.solve_tip(
    right,
    state.qpos[:6],
    state.grasp_pos,
    state.grasp_rot,
    state.socket_pos + socket @ place,
    socket @ turn @ jnp.asarray(right.base_mat),
    iterations=5,
  )
  joints = jnp.asarray(scene.home).at[:6].set(arm)
  return state.replace(qpos=two_arm_bench.to_actuators(joints))


def features(
  key: PRNGKey,
  *,
  vla: FrozenVla,
  token: RlToken,
  prompt: np.ndarray,
  task: Task,
  poses: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Returns features by name [F, ...] and the true pose [F, 6], mm and degrees.

  Args:
    key: consumed; the poses.
    vla, token: compute the features.
    prompt: int32 [L].
    task: the Ethernet task.
    poses: F, a multiple of 100 above 1000.

  Raises:
    ValueError: any other number of poses, or another task.
  """
  if poses <= 1000 or poses % 100:
    raise ValueError(f'poses must be a multiple of 100 above 1000: {poses}.')
  config = task.config
  if not isinstance(config, EthernetConfig):
    raise ValueError(
      f'The poses are those of the task ethernet: {task.spec.name}.'
    )
  scene = scene_lib.load(config)
  start = task.compile(
    jax.vmap(functools.partial(draw, task=task, scene=scene))
  )
  true_pose = jax.jit(jax.vmap(task.true_pose))
  prompt_ids = np.tile(prompt, (_BATCH, 1))

  @jax.jit
  def embed(vla_params, token_params, observation):
    # Only the reference chunk, left out, depends on the key.
    out = vla.apply(vla_params, observation, jax.random.key(0))
    z_rl = token.apply(token_params, out.tokens, out.mask)
    count = token.config.num_image_tokens
    return out.tokens[:, :count], z_rl

  columns = {'joints': [], 'z_rl': [], 'mean_token': [], 'tokens': []}
  truth = []
  for i in range(poses // _BATCH):
    keys = jax.random.split(jax.random.fold_in(key, i), _BATCH)
    state = start(keys)
    proprio = task.proprio(state)  # begins with the joints' positions, rates
    measured = proprio[:, : vla.spec.state_dim]
    observation = Observation(task.render(state), measured, prompt_ids)
    tokens, z_rl = embed(vla.params, token.params, observation)
    columns['joints'].append(proprio[:, :6])
    columns['z_rl'].append(z_rl)
    columns['mean_token'].append(tokens.mean(1))
    columns['tokens'].append(tokens.reshape(_BATCH, -1))
    truth.append(true_pose(state))
  columns = {n: np.concatenate(jax.device_get(x)) for n, x in columns.items()}
  truth = np.concatenate(jax.device_get(truth))
  return columns, np.concatenate(
    [1e3 * truth[:, :3], np.rad2deg(truth[:, 3:])], axis=1
  )


class _Probe(nn.Module):
  """Two hidden layers of 256 units, each with a layer norm."""

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = nn.LayerNorm()(nn.gelu(nn.Dense(256)(x)))
    return nn.Dense(len(AXES))(x)


def fit(x: Array, y: Array, key: PRNGKey, steps: int) -> np.ndarray:
  """Returns the rms error [6] on the last tenth of the rows.

  Args:
    x: [F, features]. y: [F, 6].
    key: consumed; weights and order.
    steps: gradient steps of 128 rows.
  """
  count = len(x) - int(_HELD_OUT * len(x))
  x = (x - x[:count].mean(0)) / (x[:count].std(0) + 1e-4)
  mean, std = y[:count].mean(0), y[:count].std(0)
  x, target = jnp.asarray(x), jnp.asarray((y - mean) / std)
  init_key, key = jax.random.split(key)
  net = _Probe()
  params = net.init(init_key, x[:1])
  rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, steps // 20, steps)
  optimizer = optax.adamw(rate, weight_decay=1e-2)

  @jax.jit
  def step(params, opt_state, key):
    rows = jax.random.randint(key, (128,), 0, count)

    def loss(params):
      return jnp.square(net.apply(params, x[rows]) - target[rows]).mean()

    updates, opt_state = optimizer.update(
      jax.grad(loss)(params), opt_state, params
    )
    return optax.apply_updates(params, updates), opt_state

  opt_state = optimizer.init(params)
  for i in range(steps):
    params, opt_state = step(params, opt_state, jax.random.fold_in(key, i))
  error = (jax.jit(net.apply)(params, x[count:]) - target[count:]) * std
  return np.sqrt(np.square(error).mean(0))


def measure(
  seed: int,
  *,
  vla: FrozenVla,
  token: RlToken,
  prompt: np.ndarray,
  task: Task,
  poses: int,
  steps: int,
  log: Callable[[str], None] = print,
) -> dict[str, dict[str, float]]:
  """Returns the rms error of each kind of features, by axis of `AXES`.

  'constant' predicts the mean pose. The joints are given to every probe.

  Args:
    seed: of poses and probes.
    vla, token, prompt, task, poses: see `features`.
    steps: of each `fit`.
    log: takes the lines of a table.

  Raises:
    ValueError: a wrong number of poses.
    KeyboardInterrupt: a signal came; all is given up at once.
  """
  pose_key, fit_key = jax.random.split(jax.random.key(seed))
  columns, truth = signals.call(
    features,
    pose_key,
    vla=vla,
    token=token,
    prompt=prompt,
    task=task,
    poses=poses,
  )
  errors = {'constant': truth.std(0)}
  log(_line('rms error', [f'{name:>12s}' for name in AXES]))
  log(_line('constant', [f'{e:12.3f}' for e in errors['constant']]))
  for name, x in columns.items():
    if name != 'joints':
      x = np.concatenate([x, columns['joints']], axis=1)
    errors[name] = signals.call(fit, x, truth, fit_key, steps)
    log(_line(name, [f'{e:12.3f}' for e in errors[name]]))
  return {
    name: dict(zip(AXES, np.round(error, 4).tolist(), strict=True))
    for name, error in errors.items()
  }


def _line(name: str, cells: Sequence[str]) -> str:
  return ' '.join((f'{name:12s}', *cells))
