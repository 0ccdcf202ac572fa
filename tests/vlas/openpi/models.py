"""Tiny models of openpi and a tokenizer of whole words."""

import dataclasses
import json
import pathlib
import re
import zlib

import flax.traverse_util
import jax
import numpy as np

from rlt_jax.vlas.openpi import checkpoint as checkpoint_lib
from rlt_jax.vlas.openpi import config as config_lib
from rlt_jax.vlas.openpi import model, openpi_vla, statistics
from rlt_jax.vlas.openpi.model_config import (
  ExpertConfig,
  ModelConfig,
  TowerConfig,
)

REFERENCE = pathlib.Path(__file__).parent / 'reference'
CHECKPOINT = REFERENCE / 'pi05_tiny_checkpoint'
TOKENIZER = REFERENCE / 'tiny_tokenizer.model'

# Four tokens a camera; every size differs from the others that it might be
# confused with.
SIZES = {
  'tower': {
    'width': 24,
    'depth': 2,
    'mlp_dim': 20,
    'num_heads': 3,
    'patch': 14,
    'image_size': 28,
  },
  'prefix': {
    'width': 32,
    'depth': 3,
    'mlp_dim': 40,
    'num_heads': 4,
    'num_kv_heads': 1,
    'head_dim': 8,
  },
  'expert': {
    'width': 16,
    'depth': 3,
    'mlp_dim': 28,
    'num_heads': 4,
    'num_kv_heads': 1,
    'head_dim': 8,
  },
  'vocabulary': 512,
}


def small_model(family: str, **changes) -> ModelConfig:
  """Returns the sizes above."""
  return ModelConfig(
    family=family,
    dtype='float32',
    tower=TowerConfig(**SIZES['tower']),
    prefix=ExpertConfig(**SIZES['prefix']),
    expert=ExpertConfig(**SIZES['expert']),
    vocabulary=SIZES['vocabulary'],
    **changes,
  )


def of_reference(config: str, dtype: str) -> ModelConfig:
  """Returns the sizes of a file of the reference data."""
  table = json.loads(config)
  tower = {k: v for k, v in table['siglip'].items() if k != 'patch_size'}
  return ModelConfig(
    family=table['model'],
    dtype=dtype,
    tower=TowerConfig(
      **tower, patch=table['patch'], image_size=table['image_size']
    ),
    prefix=ExpertConfig(**table['prefix']),
    expert=ExpertConfig(**table['expert']),
    vocabulary=table['vocabulary'],
    action_dim=table['action_dim'],
  )


def random_params(config: ModelConfig, seed: int = 0):
  """Returns params none of whose arrays is constant, as trained ones are."""
  params = model.init_params(jax.random.key(seed), config)
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  rng = np.random.default_rng(seed)
  flat = {
    name: np.asarray(x) + 0.1 * rng.normal(size=x.shape).astype(np.float32)
    for name, x in flat.items()
  }
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def random_statistics(entries: int, seed: int = 0) -> statistics.Statistics:
  rng = np.random.default_rng(seed)
  return statistics.measure(
    rng.normal(0.1, 0.4, (400, entries)), rng.normal(0.0, 0.05, (400, entries))
  )


def encode(text: str) -> list[int]:
  """A tokenizer of words and signs, a digit at a time."""
  pieces = re.findall(r' ?[A-Za-z]+|\d|[^A-Za-z\d]', text)
  return [3 + zlib.crc32(piece.encode()) % 500 for piece in pieces]


def bench_config(family: str, **changes) -> config_lib.OpenpiConfig:
  """Returns the two-arm bench's configuration with a tiny model."""
  config = config_lib.load(f'{family}_two_arm_bench')
  return dataclasses.replace(
    config, model=small_model(family), flow_steps=3, **changes
  )


def make_vla(
  config: config_lib.OpenpiConfig,
  params=None,
  stats: statistics.Statistics | None = None,
  digest: str = 'weights',
  tokenizer: bytes = b'words',
) -> openpi_vla.OpenpiVla:
  """Returns an untrained VLA that reads words by `encode`."""
  params = random_params(config.model) if params is None else params
  return openpi_vla.make(
    config,
    checkpoint_lib.Weights(params, digest),
    stats or random_statistics(len(config.joints)),
    openpi_vla.make_prompter(config, encode),
    tokenizer,
  )
