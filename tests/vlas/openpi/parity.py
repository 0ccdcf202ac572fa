"""openpi's own outputs, on random weights of tiny sizes, next to ours.

  python -m tests.vlas.openpi.parity

prints the largest differences; the tests bound them.
"""

from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Params
from rlt_jax.vlas.openpi import checkpoint, experts, model
from rlt_jax.vlas.openpi.model_config import ModelConfig
from tests.vlas.openpi import models

FAMILIES = ('pi0', 'pi05')


class Case(NamedTuple):
  """A file of the reference data with its inputs and weights."""

  config: ModelConfig
  arrays: dict[str, np.ndarray]
  params: Params
  inputs: model.ModelInputs


class Pair(NamedTuple):
  """Numbers of ours and openpi's that must agree."""

  ours: np.ndarray
  openpis: np.ndarray

  def largest(self) -> float:
    """Returns the largest absolute difference."""
    return float(abs(self.ours - self.openpis).max())

  def relative(self) -> float:
    """Returns the difference's root mean square, over that of openpi's."""
    error = np.square(self.ours - self.openpis).mean()
    return float(np.sqrt(error / np.square(self.openpis).mean()))


def read(name: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a file of the reference data."""
  with np.load(models.REFERENCE / name) as file:
    return {key: file[key] for key in file.files}


def load(family: str, dtype: str) -> Case:
  """Returns a case with weights and activations of one type."""
  arrays = read(f'{family}_tiny.npz')
  config = models.of_reference(str(arrays['config']), dtype)
  if family == 'pi05':
    pixels = read('pi0_tiny.npz')
    arrays |= {n: pixels[n] for n in ('in/images', 'in/image_masks')}
    params = checkpoint.read(models.CHECKPOINT, config).params
  else:
    flat = {
      name.removeprefix('params/'): jnp.asarray(x, dtype)
      for name, x in arrays.items()
      if name.startswith('params/')
    }
    params = flax.traverse_util.unflatten_dict(flat, sep='/')
  inputs = model.ModelInputs(
    images=arrays['in/images'],
    image_mask=arrays['in/image_masks'],
    prompt=arrays['in/tokenized_prompt'] * arrays['in/tokenized_prompt_mask'],
    state=arrays['in/state'],
  )
  return Case(config, arrays, params, inputs)


def run(case: Case) -> tuple[model.PrefixOutput, dict[str, Any]]:
  """Returns the prefix, and every other output of the file, of one program."""
  config, arrays = case.config, case.arrays
  noise, state = arrays['in/noise'], case.inputs.state

  def at_time(params, prefix, time):
    change = model.condition(params, time[None], config)
    tokens = model.embed_suffix(params, state, noise, change, config)
    n = tokens.shape[1]
    visible = jnp.ones((n, n), bool).at[0, 1:].set(config.is_pi05)
    modulation = change if config.is_pi05 else None
    found = {
      'suffix_embed': tokens[:, :4],
      'suffix_out': experts.run_suffix(
        params['PaliGemma']['llm'],
        tokens,
        modulation,
        prefix.cache,
        prefix.mask,
        visible,
      )[:, ::5],
      'velocity': model.velocity(params, prefix, state, noise, change, config),
    }
    if config.is_pi05:
      features = model.time_features(time[None], config.expert.width)
      vector = model.time_vector(params, features)
      found['adarms_cond'] = jnp.repeat(vector, len(noise), axis=0)
    return found

  @jax.jit
  def everything(params, inputs):
    prefix = model.run_prefix(params, inputs, config)
    found = jax.lax.map(
      lambda time: at_time(params, prefix, time),
      jnp.float32(arrays['in/times']),
    )
    found['prefix_embed'], _ = model.embed_prefix(params, inputs, config)
    for name, steps in (('actions', 10), ('actions_4_steps', 4)):
      found[name] = model.sample(
        params, prefix, inputs.state, noise, config=config, steps=steps
      )
    found['loss'], found['loss_velocity'] = model.flow_error(
      params,
      inputs,
      arrays['in/loss_actions'],
      noise,
      arrays['in/loss_time'],
      config,
    )
    return prefix, found

  return everything(case.params, case.inputs)


def compare(case: Case) -> dict[str, Pair]:
  """Returns every output of a file beside ours, valid rows only."""
  prefix, found = run(case)
  arrays = case.arrays
  rows, mask = arrays['rows'], arrays['out/prefix_mask']
  pairs = {}
  for name, x in (
    ('prefix_embed', found.pop('prefix_embed')),
    ('prefix_out', prefix.tokens),
  ):
    seen = mask[:, rows]
    x = np.asarray(x, np.float32)[:, rows]
    pairs[name] = Pair(x[seen], arrays[f'out/{name}'][seen])
  seen = mask[:, ::16]
  for name, x in zip(('kv_k', 'kv_v'), prefix.cache, strict=True):
    x = np.asarray(x, np.float32)[:, :, ::16]
    pairs[name] = Pair(x[:, seen], arrays[f'out/{name}_every_16th'][:, seen])
  for name, x in found.items():
    pairs[name] = Pair(np.asarray(x, np.float32), arrays[f'out/{name}'])
  return pairs


def main() -> None:
  """Prints the table of docs/openpi.md."""
  print('largest difference in float32; relative rms in bfloat16')
  for family in FAMILIES:
    exact = compare(load(family, 'float32'))
    served = compare(load(family, 'bfloat16'))
    for name, pair in exact.items():
      print(
        f'{family:5s} {name:16s} {pair.largest():8.1e} '
        f'{served[name].relative():7.2%}'
      )


if __name__ == '__main__':
  main()
