"""Tiny random policies; LeRobot's Python runs this file.

  PYTHONPATH=. python -m tests.lerobot.tiny_policies make smolvla FOLDER
  PYTHONPATH=. python -m tests.lerobot.tiny_policies serve FLAGS

`make` writes a checkpoint for the dataset of the tests. `serve` runs
experiments.serve_lerobot with the sizes of π0.5 made tiny, which LeRobot has
fixed in its code.
"""

import functools
import json
import pathlib
import runpy
import sys
from typing import Any

_DATA = pathlib.Path(__file__).parents[1] / 'data' / 'lerobot'
DATASET, TOKENIZER = _DATA / 'dataset_v3_images', _DATA / 'tiny_smolvlm'
_VOCABULARY = 64


def shrink() -> None:
  """Makes the sizes of π0 and π0.5 tiny."""
  from lerobot.policies.pi0 import modeling_pi0
  from lerobot.policies.pi05 import modeling_pi05

  for module in (modeling_pi0, modeling_pi05):
    size = module.GemmaConfig(
      width=64, depth=2, mlp_dim=96, num_heads=2, num_kv_heads=1, head_dim=16
    )
    module.get_gemma_config = lambda variant, size=size: size
    for name in (
      'PaliGemmaForConditionalGenerationWithPiGemma',
      'PiGemmaForCausalLM',
    ):
      build = getattr(module, name)
      setattr(module, name, functools.partial(_build_tiny, build))


def _build_tiny(build: Any, config: Any) -> Any:
  text = getattr(config, 'text_config', config)
  text.vocab_size = _VOCABULARY
  if text is not config:
    config.image_token_index = config.image_token_id = _VOCABULARY - 1
    config._vocab_size = _VOCABULARY
    config.projection_dim = 64
    vision = config.vision_config
    vision.hidden_size, vision.intermediate_size = 32, 64
    vision.num_hidden_layers = vision.num_attention_heads = 2
    vision.projection_dim = 64
  return build(config)


def _features() -> tuple[dict, dict]:
  from lerobot.configs.types import FeatureType, PolicyFeature

  info = json.loads((DATASET / 'meta/info.json').read_text())['features']
  cameras = [key for key in info if key.startswith('observation.images.')]
  inputs = {k: PolicyFeature(FeatureType.VISUAL, (3, 64, 64)) for k in cameras}
  inputs['observation.state'] = PolicyFeature(FeatureType.STATE, (14,))
  return inputs, {'action': PolicyFeature(FeatureType.ACTION, (14,))}


def make(kind: str, folder: str) -> None:
  """Writes a checkpoint of random weights, always the same."""
  from lerobot.policies.factory import (
    get_policy_class,
    make_policy_config,
    make_pre_post_processors,
  )
  import torch

  shrink()
  inputs, outputs = _features()
  sizes = {
    'smolvla': {
      'vlm_model_name': str(TOKENIZER),
      'load_vlm_weights': False,
      'num_vlm_layers': 4,
      'resize_imgs_with_padding': (64, 64),
    },
    'pi0': {'image_resolution': (56, 56)},
    'pi05': {'image_resolution': (56, 56)},
  }
  config = make_policy_config(
    kind,
    input_features=inputs,
    output_features=outputs,
    device='cpu',
    chunk_size=20,
    n_action_steps=20,
    **sizes[kind],
  )
  torch.manual_seed(0)
  policy = get_policy_class(kind)(config)
  with torch.no_grad():
    for x in policy.parameters():
      x.add_(0.02 * torch.randn_like(x))  # norms and biases, too
  policy.save_pretrained(folder)
  stats = json.loads((DATASET / 'meta/stats.json').read_text())
  stats = {
    key: {name: torch.tensor(x) for name, x in table.items()}
    for key, table in stats.items()
  }
  import transformers

  load = transformers.AutoTokenizer.from_pretrained
  transformers.AutoTokenizer.from_pretrained = lambda name: load(
    TOKENIZER if name.startswith('google/') else name
  )
  for processor in make_pre_post_processors(config, dataset_stats=stats):
    processor.save_pretrained(folder)


def main() -> None:
  """Runs what the command line says."""
  command, *rest = sys.argv[1:]
  if command == 'make':
    make(*rest)
    return
  shrink()
  sys.argv = ['serve_lerobot', *rest]
  runpy.run_module('experiments.serve_lerobot', run_name='__main__')


if __name__ == '__main__':
  main()
