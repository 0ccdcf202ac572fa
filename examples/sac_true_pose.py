"""SAC of Stable-Baselines3 learns the Ethernet task from the true pose."""

import argparse
import time

import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from rlt_jax.envs import sb3_vec_env
from rlt_jax.envs.gymnasium_vector_env import TaskVectorEnv

DISCOUNT = 0.95
parser = argparse.ArgumentParser()
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--steps', type=int, default=20_000)
parser.add_argument('--warm_up', type=int, default=1_000)
parser.add_argument('--trials', type=int, default=40)
flags = parser.parse_args()


def worlds(seed):
  """Returns eight worlds as SB3 wants them."""
  env = TaskVectorEnv(
    'ethernet',
    num_envs=8,
    autoreset_mode='SameStep',
    actions='tip',
    observations=('true_pose',),
    flat_observation=True,
    reward='shaped',
    shaping_discount=DISCOUNT,
  )
  vec_env = sb3_vec_env.make(env)
  vec_env.seed(seed)
  return vec_env


# Poses are in m and rad. A fixed unit of 5 mm or 3 degrees: VecNormalize's own,
# the spread of all that was seen, hides the socket's play of 0.3 mm.
training = VecNormalize(VecMonitor(worlds(flags.seed)), norm_reward=False)
training.training = False
training.obs_rms.var = np.square([0.005] * 3 + [0.05] * 3)
model = SAC(
  'MlpPolicy', training, seed=flags.seed, gamma=DISCOUNT, learning_rate=1e-3,
  learning_starts=flags.warm_up, gradient_steps=8, ent_coef='auto_0.1',
  policy_kwargs={'net_arch': [64, 64]}, verbose=1,
)  # fmt: skip
start = time.time()
model.learn(flags.steps, log_interval=8)
print(f'{flags.steps} steps took {time.time() - start:.0f} s')

# The same number of episodes of each world: the first to end are the easy ones.
test, outcomes = worlds(1_000_000), [[] for _ in range(8)]
seen, trials = test.reset(), flags.trials // 8
while min(map(len, outcomes)) < trials:
  action, _ = model.predict(training.normalize_obs(seen), deterministic=True)
  seen, _, done, infos = test.step(action)
  for i in np.flatnonzero(done):
    outcomes[i].append(infos[i]['outcome'])
names = [name for world in outcomes for name in world[:trials]]
print({name: names.count(name) for name in sorted(set(names))})
