"""openpi's own outputs, on random weights of tiny sizes, next to ours.

  python -m tests.vlas.openpi.parity

prints the largest differences; the tests bound them.
"""

import json
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from rlt_jax.types import Params
from rlt_jax.vlas.openpi import (
  checkpoint,
  experts,
  images,
  lora,
  model,
  prompt,
  robot_map,
  statistics,
)
from rlt_jax.vlas.openpi.config import JointConfig
from rlt_jax.vlas.openpi.model_config import ModelConfig
from tests.vlas.openpi import models

FAMILIES = ('pi0', 'pi05')
ATTENTION = {
  'q_einsum': 'btd,ndh->btnh',
  'kv_einsum': 'bsd,ckdh->cbskh',
  'attn_vec_einsum': 'btnh,nhd->btd',
}
_STATISTICS = models.CHECKPOINT / 'assets' / 'tiny_arm' / 'norm_stats.json'


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


def compare_lora() -> dict[str, Pair]:
  """Returns outputs of layers with merged factors beside openpi's."""
  layers, pairs = read('lora_tiny.npz'), {}
  for name, equation in ATTENTION.items():
    w, a, b, x, expected = (
      layers[f'{name}/{part}'] for part in ('w', 'lora_a', 'lora_b', 'x', 'out')
    )
    merged = lora.merge(f'PaliGemma/llm/layers/attn/{name}_1/w', w, a, b)
    pairs[name] = Pair(np.einsum(equation, x, merged), expected)
  gating, linear = (
    lora.merge(
      f'mlp/{name}',
      layers[f'mlp/{name}'],
      *(layers[f'mlp/{name}_lora_{x}'] for x in 'ab'),
    )
    for name in ('gating_einsum', 'linear')
  )
  gate, up = layers['mlp/x'] @ gating[:, None]
  found = np.asarray((jax.nn.gelu(gate) * up) @ linear)
  return pairs | {'mlp': Pair(found, layers['mlp/out'])}


def compare_transforms(family: str) -> dict[str, Pair]:
  """Returns what is made of a raw sample beside what openpi makes of it."""
  table = json.loads((models.REFERENCE / 'transforms.json').read_text())
  case, state = table['cases'][family], np.array(table['state'])
  n, mask = len(state), table['delta_mask']
  stats = statistics.read(_STATISTICS, n, quantiles=case['quantiles'])
  ranges = [
    x.by_quantiles() if case['quantiles'] else x.by_deviation() for x in stats
  ]
  encode = prompt.open_tokenizer(models.TOKENIZER, 512)[0]
  shown = n if case['discrete_state'] else 0
  prompter = prompt.Prompter(encode, case['prompt_length'], shown)
  normalized = ranges[0].normalize(state)
  words = prompter.tokenize(table['prompt'])[None]
  if shown:
    words = prompter.state_words.append(words, np.float32(normalized)[None])
  joints = [JointConfig(name=str(i), delta=x) for i, x in enumerate(mask)]
  space = robot_map.make(joints, [joint.name for joint in joints])
  actions = ranges[1].restore(np.array(case['actions_normalised'])[:, :n])
  expected = np.array(case['tokens'])
  found = np.asarray(words)[0]
  pairs = {
    'state': Pair(normalized, np.array(case['state_normalised'])[:n]),
    'words': Pair(
      found[found != 0], expected[np.array(case['token_mask'], bool)]
    ),
    'actions': Pair(actions, np.array(case['unnormalised']['actions'])[:, :n]),
    'joint targets': Pair(
      np.asarray(space.commands(actions[None], state[None])[0]),
      np.array(case['absolute_actions'])[:, :n],
    ),
  }
  if shown:
    bins = np.asarray(prompt.digitize(np.float32(normalized)))
    pairs['bins'] = Pair(bins, np.array(case['state_bins']))
  return pairs


def compare_picture() -> Pair:
  """Returns a resized picture beside openpi's, gray levels."""
  table = json.loads((models.REFERENCE / 'transforms.json').read_text())
  picture = np.array(table['image']['input'], np.uint8)
  found = np.asarray(images.resize_with_pad(picture, 28)).astype(int)
  return Pair(found, np.array(table['image']['resized_28']))


def main() -> None:
  """Prints the tables of docs/openpi.md."""
  print('largest difference in float32; relative rms in bfloat16')
  for family in FAMILIES:
    exact = compare(load(family, 'float32'))
    served = compare(load(family, 'bfloat16'))
    for name, pair in exact.items():
      print(
        f'{family:5s} {name:16s} {pair.largest():8.1e} '
        f'{served[name].relative():7.2%}'
      )
  for name, pair in compare_lora().items():
    print(f'LoRA  {name:16s} {pair.largest():8.1e}')
  for family in FAMILIES:
    for name, pair in compare_transforms(family).items():
      print(f'{family:5s} {name:16s} {pair.largest():8.1e}')
  print(f'{"":5s} {"picture":16s} {compare_picture().largest():8.1e}')


if __name__ == '__main__':
  main()
