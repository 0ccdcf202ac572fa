"""Makes demonstrations with the scripted teleoperator: what a VLA learns from.

  python -m experiments.make_demos --out=data/demos/a --seed=1
  python -m experiments.make_demos --out=data/demos/b --seed=2 \
      --like=data/demos/a

One in `--lift_every` episodes follows the second instruction (lift the plug
away), so that the prompt carries information. Failed insertions are dropped
from the frames, and counted in demos.json. Many episodes with few frames each
teach more than the reverse: what varies is the episode. An operator that aims
badly (`--aim_error_mm=1.8`) shows what a stuck plug looks like and the way out.
Expected: about 6 minutes on one core (0.7 GB, not committed).
"""

import functools
import json
import pathlib
import shlex
import sys
import time

from absl import app, flags
import jax
import numpy as np

from rlt_jax import tasks
from rlt_jax.demonstrations import record, writer
from rlt_jax.reporting import statistics
from rlt_jax.sim import action_space
from rlt_jax.tasks.ethernet.config import EthernetConfig
from rlt_jax.tasks.ethernet.scripted_expert import ExpertConfig
from rlt_jax.tasks.task import Outcome

_OUT = flags.DEFINE_string('out', 'data/demos/a', 'New folder.')
_EPISODES = flags.DEFINE_integer('episodes', 704, 'Multiple of --worlds.')
_WORLDS = flags.DEFINE_integer('worlds', 64, 'Episodes at a time.')
_LIFT_EVERY = flags.DEFINE_integer('lift_every', 11, 'One lift in so many.')
_STEPS = flags.DEFINE_integer(
  'steps',
  None,
  "Give up an insertion after so many; the task's limit if unset.",
)
_STRIDE = flags.DEFINE_integer('stride', 6, 'Control steps between frames.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of every draw.')
_CLEARANCE = flags.DEFINE_float('clearance_mm', 0.3, 'Level of the task.')
_LIKE = flags.DEFINE_string('like', '', 'Demos whose action unit to take.')
_FRAMES = flags.DEFINE_bool('frames', True, 'False: only write demos.json.')
_MODE = flags.DEFINE_enum('action_mode', 'offset', action_space.MODES, 'Delta.')
_AIM_MM = flags.DEFINE_float(
  'aim_error_mm', None, "The operator's, std an axis."
)
_AIM_DEG = flags.DEFINE_float('aim_error_deg', None, 'The same for angles.')

HORIZON = 50  # H
CHUNK = 10  # C, whose deviation is the action unit


def main(argv: list[str]) -> None:
  """Rolls out, renders and writes one shard a batch of worlds."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  if _EPISODES.value % _WORLDS.value:
    raise app.UsageError(
      f'--episodes must be a multiple of --worlds={_WORLDS.value}: '
      f'{_EPISODES.value}.'
    )
  out = pathlib.Path(_OUT.value)
  out.mkdir(parents=True)
  start = time.time()
  task = tasks.load('ethernet', EthernetConfig(clearance_mm=_CLEARANCE.value))
  habits = {'aim_error_mm': _AIM_MM.value, 'aim_error_deg': _AIM_DEG.value}
  habits = {name: x for name, x in habits.items() if x is not None}
  expert = task.make_expert(ExpertConfig(**habits))
  roll = task.compile(
    functools.partial(
      record.demonstrate,
      task=task,
      expert=expert,
      steps=_STEPS.value or task.config.time_limit,
    )
  )
  remaining_motion = jax.jit(
    jax.vmap(task.tip.remaining_motion, in_axes=(0, None))
  )
  lift = np.arange(_WORLDS.value) % _LIFT_EVERY.value == 0
  instruction = lift.astype(np.int32)
  key, space, count = jax.random.PRNGKey(_SEED.value), None, 0
  if _LIKE.value:
    space = writer.load_space(_LIKE.value)
  table = {'outcome': [], 'steps': [], 'command': shlex.join(sys.argv)}
  for shard in range(_EPISODES.value // _WORLDS.value):
    key, roll_key = jax.random.split(key)
    trace = roll(roll_key, instruction)
    for e in np.flatnonzero(~lift):
      outcome = int(trace.final.outcome[e])
      if outcome == Outcome.RUNNING:
        outcome = Outcome.TIME_OUT  # given up after --steps
      table['outcome'].append(outcome)
      table['steps'].append(int(trace.final.steps[e]))
    if not _FRAMES.value:
      continue
    demos = record.record(trace, instruction, task, stride=_STRIDE.value)
    demos = [
      d
      for d in demos
      if d.prompt != task.spec.instruction or d.outcome == Outcome.SUCCESS
    ]
    space = space or writer.measure_unit(
      demos,
      task.spec.instruction,
      chunk_size=CHUNK,
      mode=_MODE.value,
    )
    merged = writer.to_columns(
      demos,
      space,
      first=count,
      horizon=HORIZON,
      remaining_motion=remaining_motion,
    )
    count += len(demos)
    writer.save_shard(
      out / f'shard_{shard:03d}.npz',
      merged,
      space,
      joint_names=task.spec.joint_names,
      control_hz=task.spec.control_hz,
    )
    print(
      f'shard {shard}: {len(demos)} episodes, {len(merged["episode"])} '
      f'frames, {time.time() - start:.0f} s',
      flush=True,
    )
  (out / 'demos.json').write_text(json.dumps(table) + '\n')
  episodes = statistics.from_plain(table)
  print(statistics.describe(episodes, task.spec.control_hz))


if __name__ == '__main__':
  app.run(main)
