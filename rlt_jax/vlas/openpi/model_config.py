"""Sizes of a π0 or π0.5, and the name and shape of every array.

Names are those of openpi's checkpoints, so that reading one is a comparison of
shapes and no translation. Layers are stacked on axis 0.
"""

import dataclasses
from typing import NamedTuple

FAMILIES = ('pi0', 'pi05')
DTYPES = ('bfloat16', 'float32')


def _check_positive(config):
  for field in dataclasses.fields(config):
    if getattr(config, field.name) < 1:
      raise ValueError(
        f'{field.name} must be positive: {getattr(config, field.name)}.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig:
  """The image tower; the default is SigLIP So400m/14."""

  width: int = 1152
  depth: int = 27
  mlp_dim: int = 4304
  num_heads: int = 16
  patch: int = 14  # pixels a side of one token
  image_size: int = 224  # pixels a side

  def __post_init__(self):
    _check_positive(self)
    if self.width % self.num_heads or self.image_size % self.patch:
      raise ValueError(
        'The tower must have a width that is a multiple of num_heads and an '
        f'image_size that is a multiple of patch: {self}.'
      )

  @property
  def tokens(self) -> int:
    """Tokens of one camera."""
    return (self.image_size // self.patch) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertConfig:
  """One of the two transformers; the default is the prefix, Gemma 2B."""

  width: int = 2048
  depth: int = 18
  mlp_dim: int = 16384
  num_heads: int = 8
  num_kv_heads: int = 1
  head_dim: int = 256

  def __post_init__(self):
    _check_positive(self)
    if self.num_heads % self.num_kv_heads or self.head_dim % 2:
      raise ValueError(
        'An expert must have num_heads that are a multiple of num_kv_heads '
        f'and an even head_dim: {self}.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """A whole model; the default has the sizes of the published ones.

  family: 'pi0' (the state is a token of the action expert) or 'pi05' (the
    state is text, and the time modulates the norms).
  dtype: of the activations; the weights may have another.
  """

  family: str = 'pi05'
  tower: TowerConfig = TowerConfig()
  prefix: ExpertConfig = ExpertConfig()
  expert: ExpertConfig = ExpertConfig(width=1024, mlp_dim=4096)
  vocabulary: int = 257_152
  action_dim: int = 32  # entries of state and actions, padded with zeros
  dtype: str = 'bfloat16'

  def __post_init__(self):
    if self.family not in FAMILIES:
      raise ValueError(f'family must be one of {FAMILIES}: {self.family!r}.')
    if self.dtype not in DTYPES:
      raise ValueError(f'dtype must be one of {DTYPES}: {self.dtype!r}.')
    if min(self.vocabulary, self.action_dim) < 1 or self.expert.width % 2:
      raise ValueError(
        'vocabulary and action_dim must be positive, the width of the action '
        f'expert even: {self.vocabulary}, {self.action_dim}, '
        f'{self.expert.width}.'
      )
    for name in ('depth', 'num_heads', 'num_kv_heads', 'head_dim'):
      pair = getattr(self.prefix, name), getattr(self.expert, name)
      if pair[0] != pair[1]:
        raise ValueError(
          f'Both experts must have the same {name}, since they meet in one '
          f'attention: {pair}.'
        )

  @property
  def is_pi05(self) -> bool:
    """Whether the family is 'pi05'."""
    return self.family == 'pi05'


class ArraySpec(NamedTuple):
  """An array of the model.

  shape: of it. deviation: of its normal initial values; 0 starts at zero, and
    None at one.
  """

  shape: tuple[int, ...]
  deviation: float | None


def arrays(config: ModelConfig) -> dict[str, ArraySpec]:
  """Returns name -> array of a model without LoRA, in openpi's names."""
  found = _tower_arrays(config)
  llm = 'PaliGemma/llm'
  width = config.prefix.width
  found[f'{llm}/embedder/input_embedding'] = ArraySpec(
    (config.vocabulary, width), width**-0.5
  )
  for suffix, expert in (('', config.prefix), ('_1', config.expert)):
    for name, spec in _expert_arrays(expert, suffix).items():
      found[f'{llm}/{name}'] = spec
    adaptive = config.is_pi05 and suffix == '_1'
    for name, lead in (
      ('final_norm', ()),
      ('layers/pre_attention_norm', (expert.depth,)),
      ('layers/pre_ffw_norm', (expert.depth,)),
    ):
      name = f'{llm}/{name}{suffix}'
      if adaptive:  # scale, shift and gate, of the time
        found |= _linear(f'{name}/Dense_0', lead, width, 3 * width, 0.0)
      else:
        found[f'{name}/scale'] = ArraySpec((*lead, expert.width), 0.0)
    width = config.expert.width
  entries = config.action_dim
  found |= _linear('action_in_proj', (), entries, width)
  found |= _linear('action_out_proj', (), width, entries)
  if config.is_pi05:
    found |= _linear('time_mlp_in', (), width, width)
    found |= _linear('time_mlp_out', (), width, width)
  else:
    found |= _linear('state_proj', (), entries, width)
    found |= _linear('action_time_mlp_in', (), 2 * width, width)
    found |= _linear('action_time_mlp_out', (), width, width)
  return found


def lora_arrays(
  config: ModelConfig, prefix_rank: int, expert_rank: int
) -> dict[str, ArraySpec]:
  """Returns the arrays that a LoRA training adds; a rank of 0 adds none."""
  found = {}
  for name, spec in arrays(config).items():
    if not is_adaptable(name):
      continue
    rank = expert_rank if '_1/' in name else prefix_rank
    if rank:
      a, b = lora_names(name)
      found[a] = ArraySpec((*spec.shape[:-1], rank), spec.deviation)
      found[b] = ArraySpec((*spec.shape[:-2], rank, spec.shape[-1]), 0.0)
  return found


def is_adaptable(name: str) -> bool:
  """Whether LoRA may be trained beside an array: attention and MLP."""
  return '/llm/layers/' in name and name.endswith(
    ('/w', '/gating_einsum', '/linear')
  )


def lora_names(name: str) -> tuple[str, str]:
  """Returns the names of the two factors beside an adaptable array."""
  base = name.removesuffix('w') if name.endswith('/w') else f'{name}_'
  return f'{base}lora_a', f'{base}lora_b'


def _tower_arrays(config):
  tower, img = config.tower, 'PaliGemma/img'
  width, depth = tower.width, (tower.depth,)
  block = f'{img}/Transformer/encoderblock'
  attention = f'{block}/MultiHeadDotProductAttention_0'
  patch = (tower.patch, tower.patch, 3)
  head = width // tower.num_heads
  found = {
    f'{img}/embedding/kernel': ArraySpec(
      (*patch, width), (patch[0] * patch[1] * 3) ** -0.5
    ),
    f'{img}/embedding/bias': ArraySpec((width,), 0.0),
    f'{img}/pos_embedding': ArraySpec((1, tower.tokens, width), width**-0.5),
  }
  for name in ('query', 'key', 'value'):
    found[f'{attention}/{name}/kernel'] = ArraySpec(
      (*depth, width, tower.num_heads, head), width**-0.5
    )
    found[f'{attention}/{name}/bias'] = ArraySpec(
      (*depth, tower.num_heads, head), 0.0
    )
  found[f'{attention}/out/kernel'] = ArraySpec(
    (*depth, tower.num_heads, head, width), width**-0.5
  )
  found[f'{attention}/out/bias'] = ArraySpec((*depth, width), 0.0)
  found |= _linear(f'{block}/MlpBlock_0/Dense_0', depth, width, tower.mlp_dim)
  found |= _linear(f'{block}/MlpBlock_0/Dense_1', depth, tower.mlp_dim, width)
  for name, lead in (
    (f'{block}/LayerNorm_0', depth),
    (f'{block}/LayerNorm_1', depth),
    (f'{img}/Transformer/encoder_norm', ()),
  ):
    found[f'{name}/scale'] = ArraySpec((*lead, width), None)
    found[f'{name}/bias'] = ArraySpec((*lead, width), 0.0)
  return found | _linear(f'{img}/head', (), width, config.prefix.width)


def _expert_arrays(expert, suffix):
  depth, width, size = expert.depth, expert.width, expert.head_dim
  attention, mlp = 'layers/attn', f'layers/mlp{suffix}'
  heads = (depth, expert.num_heads)
  return {
    f'{attention}/q_einsum{suffix}/w': ArraySpec(
      (*heads, width, size), width**-0.5
    ),
    f'{attention}/kv_einsum{suffix}/w': ArraySpec(
      (depth, 2, expert.num_kv_heads, width, size), width**-0.5
    ),
    f'{attention}/attn_vec_einsum{suffix}/w': ArraySpec(
      (*heads, size, width), (expert.num_heads * size) ** -0.5
    ),
    f'{mlp}/gating_einsum': ArraySpec(
      (depth, 2, width, expert.mlp_dim), width**-0.5
    ),
    f'{mlp}/linear': ArraySpec(
      (depth, expert.mlp_dim, width), expert.mlp_dim**-0.5
    ),
  }


def _linear(name, lead, inputs, outputs, deviation=None):
  deviation = inputs**-0.5 if deviation is None else deviation
  return {
    f'{name}/kernel': ArraySpec((*lead, inputs, outputs), deviation),
    f'{name}/bias': ArraySpec((*lead, outputs), 0.0),
  }
