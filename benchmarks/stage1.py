"""Memory, arithmetic and speed of Stage 1, with and without a cache of tokens.

  python -m benchmarks.stage1 --out=stage1.jsonl

First the cost of a step for the tokens of a large VLA, traced, not run: rows
give FLOP and GB with activations kept or computed again, whole or in parts.
Then steps a second of the small VLA on frames in memory: 'cached' trains on
tokens that were embedded before, 'streamed' embeds every batch, both in turn.
The largest memory of all is printed where the device reports it.

  python -m benchmarks.stage1 --vla=openpi_random --config=pi05_aloha
  python -m benchmarks.stage1 --vla=openpi_random --config=pi05_aloha --tiny

times a π0 or π0.5 of random weights instead, in the served type; nothing is
downloaded. `--tiny` narrows it, for a machine without a GPU. The cached tokens
of --episodes of 50 frames stay in the memory of the host.
"""

from typing import TYPE_CHECKING

from absl import flags

from benchmarks import out_file, timing
from experiments import launch

if TYPE_CHECKING:
  from rlt_jax.vlas.vla import FrozenVla

_CONFIG = launch.define_path(
  'config', 'pi05_aloha', "Large VLA whose costs are listed; '' lists none."
)
_HEADS = flags.DEFINE_integer('heads', 16, 'Heads of its token.')
_PARTS = flags.DEFINE_list('accumulate', ['1', '4'], 'Parts of a batch of 32.')
_VLA = flags.DEFINE_enum(
  'vla', 'pi_small', ['pi_small', 'openpi_random'],
  'VLA to time: the small one, or that of --config with random weights.',
)  # fmt: skip
_TINY = flags.DEFINE_bool('tiny', False, 'Whether to narrow the random VLA.')
_EPISODES = flags.DEFINE_integer('episodes', 20, 'Of 50 frames each, timed.')
_STEPS = flags.DEFINE_integer('steps', 10, 'Steps of a timed call; 0: no times')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed calls of each kind.')
_BATCH = flags.DEFINE_integer('batch', 32, 'Frames of a timed step.')
_OUT = out_file.define_out()


def list_costs() -> list[dict]:
  """Returns a row for each way to compute a step of the large VLA's token."""
  from rlt_jax.rl_token import step_cost
  from rlt_jax.rl_token.config import StepConfig, TokenConfig
  from rlt_jax.vlas.openpi import config as openpi_config
  from rlt_jax.vlas.openpi import cost as openpi_cost

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


def open_vla() -> 'FrozenVla':
  """Returns the VLA of the flags."""
  from benchmarks import openpi_timing
  from rlt_jax import vlas
  from rlt_jax.vlas.openpi import config as openpi_config

  if _VLA.value == 'pi_small':
    return vlas.load('pi_small')
  config = openpi_config.load(_CONFIG.value)
  return openpi_timing.random_vla(config, tiny=_TINY.value)


def time_steps(vla: 'FrozenVla') -> list[dict]:
  """Prints and returns a row for each kind of training."""
  from benchmarks import stage1_timing
  from rlt_jax.rl_token.stage1_config import Stage1Config

  table, batch = [], _BATCH.value
  config = Stage1Config(
    steps=_STEPS.value, batch_size=batch, episodes=_EPISODES.value
  )
  contenders = [
    stage1_timing.make_contender(vla, config, cache)
    for cache in ('memory', 'none')
  ]
  for name, timed in timing.interleave(contenders, _ROUNDS.value).items():
    low, high = timed.spread
    print(
      f'cache={name}  {timed.median:.3g} steps/s of {batch} frames '
      f'(quartiles {low:.3g} to {high:.3g}), first call {timed.first_s:.1f} s'
    )
    table.append({
      'kind': 'speed', 'cache': name, 'batch': batch, 'vla': _VLA.value,
      'config': _CONFIG.value if _VLA.value != 'pi_small' else '',
      'tiny': _TINY.value, 'steps_per_s': timed.median,
      'quartiles': [low, high], 'rounds': _ROUNDS.value,
    })  # fmt: skip
  peak = timing.peak_bytes()
  if peak:
    print(f'largest memory of the device {peak / 1e9:.2f} GB')
    table.append({'kind': 'memory', 'peak_gb': peak / 1e9})
  return table


def main() -> None:
  """Prints costs, then times."""
  out_file.check(_OUT.value)
  table = list_costs() if _CONFIG.value else []
  for row in table:
    print('  '.join(f'{k} {_spell(v)}' for k, v in row.items()), flush=True)
  if _STEPS.value:
    table += time_steps(open_vla())
  timing.finish(table, timing.origin(), _OUT.value)


def _spell(value: object) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
  launch.run(main, keep_compiled=False, saves_nothing=True)
