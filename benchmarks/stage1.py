"""Memory, arithmetic and speed of Stage 1, with and without a cache of tokens.

  python -m benchmarks.stage1 --out=stage1.jsonl

First the cost of a step for the tokens of a large VLA, traced, not run: rows
give FLOP and GB with activations kept or computed again, whole or in parts.
Then steps a second of the small VLA on frames in memory: 'cached' trains on
tokens that were embedded before, 'streamed' embeds every batch, both in turn.
"""

import functools

from absl import app, flags
import jax
import numpy as np

from benchmarks import out_file, timing
from experiments import launch
from rlt_jax import vlas
from rlt_jax.rl_token import stage1, step_cost, train
from rlt_jax.rl_token.config import StepConfig, TokenConfig
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.vlas.demo_source import MemorySource
from rlt_jax.vlas.demos import DemoBatch, Demos
from rlt_jax.vlas.openpi import config as openpi_config
from rlt_jax.vlas.openpi import cost as openpi_cost

_CONFIG = launch.define_path(
  'config', 'pi05_aloha', "Large VLA whose costs are listed; '' lists none."
)
_HEADS = flags.DEFINE_integer('heads', 16, 'Heads of its token.')
_PARTS = flags.DEFINE_list('accumulate', ['1', '4'], 'Parts of a batch of 32.')
_STEPS = flags.DEFINE_integer('steps', 10, 'Steps of a timed call; 0: no times')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed calls of each kind.')
_BATCH = flags.DEFINE_integer('batch', 32, 'Frames of a timed step.')
_OUT = out_file.define_out()


def list_costs() -> list[dict]:
  """Returns a row for each way to compute a step of the large VLA's token."""
  config = openpi_config.load(_CONFIG.value)
  query = openpi_cost.measure(config)
  token = TokenConfig(
    token_dim=config.model.prefix.width,
    num_image_tokens=query.image_tokens,
    num_heads=_HEADS.value,
  )
  vla_flop = token.batch_size * (query.tower_flop + query.prefix_flop)
  table = []
  for parts in map(int, _PARTS.value):
    for remat in (False, True):
      step = StepConfig(accumulate=parts, remat=remat)
      cost = step_cost.measure(token, step)
      table.append({
        'kind': 'cost',
        'config': _CONFIG.value,
        'tokens': f'{query.image_tokens} x {config.model.prefix.width}',
        'batch': token.batch_size,
        'accumulate': parts,
        'remat': remat,
        'parameters_m': cost.parameters / 1e6,
        'vla_gb': query.weight_bytes / 1e9,
        'state_gb': cost.state_bytes / 1e9,
        'gradients_gb': cost.gradient_bytes / 1e9,
        'batch_gb': cost.token_bytes / 1e9,
        'activations_gb': cost.kept_bytes / 1e9,
        'token_tflop': cost.flop / 1e12,
        'vla_tflop': vla_flop / 1e12,
      })  # fmt: skip
  return table


def make_frames(vla: vlas.FrozenVla, episodes: int) -> Demos:
  """Returns random frames, 50 an episode, that the VLA can read."""
  spec, rng = vla.spec, np.random.default_rng(0)
  count, side = 50 * episodes, spec.image_size
  chunk = (count, spec.horizon, spec.action_dim)
  images = {
    name: rng.integers(0, 255, (count, side, side, 3), np.uint8)
    for name in spec.cameras
  }
  frames = DemoBatch(
    images=images,
    proprio=rng.normal(size=(count, spec.proprio_dim)).astype(np.float32),
    prompt=np.tile(vla.tokenize('insert the plug'), (count, 1)),
    chunk=np.zeros(chunk, np.float32),
    chunk_valid=np.ones(chunk[:2], bool),
    remaining_motion=None,
    episode=np.repeat(np.arange(episodes, dtype=np.int32), 50),
  )
  return Demos(
    frames=frames,
    action_mode=spec.action_mode,
    action_scale=spec.action_scale,
    joint_names=spec.joint_names,
    control_hz=spec.control_hz,
  )


def make_contender(vla: vlas.FrozenVla, cache: str) -> timing.Contender:
  """Returns what trains for some steps from the beginning of the order."""
  config = Stage1Config(
    steps=_STEPS.value, batch_size=_BATCH.value, cache=cache, episodes=20
  )
  source = MemorySource(make_frames(vla, config.episodes))
  prepared = stage1.prepare(vla, source, config)
  moments = train.measure_tokens(prepared.data)
  key = jax.random.key(0)
  state = train.init_state(key, moments, config=prepared.token_config)
  step = jax.jit(
    functools.partial(train.train_step, config=prepared.token_config)
  )

  def call():
    now = state
    for batch in prepared.data.batches(0):
      now, metrics = step(now, batch, key)
    jax.block_until_ready(metrics)

  return timing.Contender(cache, config.steps, call)


def main(argv: list[str]) -> None:
  """Prints costs, then times."""
  del argv
  out_file.check(_OUT.value)
  table = list_costs() if _CONFIG.value else []
  for row in table:
    print('  '.join(f'{k} {_spell(v)}' for k, v in row.items()), flush=True)
  if _STEPS.value:
    vla = vlas.load('pi_small')
    contenders = [make_contender(vla, cache) for cache in ('memory', 'none')]
    for name, timed in timing.interleave(contenders, _ROUNDS.value).items():
      low, high = timed.spread
      print(
        f'cache={name}  {timed.median:.3g} steps/s of {_BATCH.value} frames '
        f'(quartiles {low:.3g} to {high:.3g}), first call {timed.first_s:.1f} s'
      )
      table.append({
        'kind': 'speed', 'cache': name, 'batch': _BATCH.value,
        'steps_per_s': timed.median, 'quartiles': [low, high],
        'rounds': _ROUNDS.value,
      })  # fmt: skip
  timing.finish(table, timing.origin(), _OUT.value)


def _spell(value: object) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
  app.run(main)
