"""Reads and writes checkpoints of openpi: Orbax arrays below `params`."""

from collections.abc import Iterator, Mapping
import contextlib
import hashlib
import logging
import pathlib
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from rlt_jax.types import Params
from rlt_jax.vlas.openpi import lora
from rlt_jax.vlas.openpi.model_config import (
  arrays,
  is_adaptable,
  lora_names,
  ModelConfig,
)

_FOLDER = 'params'
_ROOT = 'params'  # the one key above all arrays
_LEAF = 'value'  # below each array, as a training run writes them
_NAMED = 6  # arrays that a message lists


class Stored(NamedTuple):
  """An array of a checkpoint: its keys in the file, shape and type."""

  keys: tuple[str, ...]
  shape: tuple[int, ...]
  dtype: Any


class Weights(NamedTuple):
  """params: nested, on the default device. digest: hex, of what they hold."""

  params: Params
  digest: str


def find(checkpoint: str | pathlib.Path) -> pathlib.Path:
  """Returns the folder with the arrays of a checkpoint.

  Raises:
    ValueError: no such folder, or one of another kind.
  """
  checkpoint = pathlib.Path(checkpoint)
  path = checkpoint / _FOLDER
  if path.is_dir():
    return path
  hint = ''
  if not checkpoint.is_dir():
    hint = ' There is no such folder.'
  elif (checkpoint / '_METADATA').exists():
    hint = f' Give the folder above it, {checkpoint.parent}.'
  elif any(checkpoint.glob('*.safetensors')):
    hint = (
      ' It holds a PyTorch model: give the JAX checkpoint that it was '
      'converted from.'
    )
  elif steps := sorted(checkpoint.glob(f'*/{_FOLDER}')):
    hint = f' Give the folder of a step, such as {steps[-1].parent}.'
  raise ValueError(
    f'A checkpoint of openpi must be a folder with {_FOLDER} and assets: '
    f'{checkpoint}.{hint}'
  )


def list_arrays(path: pathlib.Path) -> dict[str, Stored]:
  """Returns name -> array of a folder that `find` found, without reading it.

  Raises:
    ValueError: a folder that Orbax cannot read.
  """
  try:
    tree = ocp.PyTreeCheckpointHandler().metadata(path).tree
    flat = flax.traverse_util.flatten_dict(tree[_ROOT])
  except (ValueError, KeyError, TypeError, OSError) as error:
    raise ValueError(
      f"A checkpoint's {_FOLDER} must be arrays that Orbax wrote under one key "
      f'{_ROOT!r}: {path} ({type(error).__name__}: {error}).'
    ) from None
  wrapped = all(keys[-1] == _LEAF for keys in flat)
  return {
    '/'.join(keys[:-1] if wrapped else keys): Stored(
      (_ROOT, *keys), tuple(leaf.shape), np.dtype(leaf.dtype)
    )
    for keys, leaf in flat.items()
  }


def check(found: Mapping[str, Stored], config: ModelConfig, where: Any) -> None:
  """Raises a ValueError unless the arrays are those of a model.

  Args:
    found: of `list_arrays`; LoRA factors may stand beside adaptable arrays.
    config: the sizes.
    where: for messages.
  """
  expected = {name: spec.shape for name, spec in arrays(config).items()}
  for family, mark in (('pi0', 'state_proj/'), ('pi05', 'time_mlp_in/')):
    if family != config.family and any(n.startswith(mark) for n in found):
      raise ValueError(
        f'The configuration is for {config.family}, the weights must be too; '
        f'they are of {family}: {where}. Choose a configuration with '
        f'family {family!r}.'
      )
  ranks = _find_lora(found, expected)
  factors = {x for name in ranks for x in lora_names(name)}
  missing = sorted(set(expected) - set(found))
  extra = sorted(set(found) - set(expected) - factors)
  if missing or extra:
    raise ValueError(
      f'A checkpoint must hold the {len(expected)} arrays of its model; '
      f'missing are {_brief(missing)}, unknown {_brief(extra)}: {where}.'
    )
  wrong = [
    f'{name} {found[name].shape}, not {shape}'
    for name, shape in expected.items()
    if found[name].shape != shape
  ]
  if wrong:
    raise ValueError(
      "The arrays must have the configuration's sizes: "
      f'{_brief(wrong)} in {where}. Set sizes to those of its training.'
    )
  types = {name: x.dtype for name, x in found.items()}
  other = [
    f'{n} {d}' for n, d in types.items() if not jnp.issubdtype(d, jnp.floating)
  ]
  if other:
    raise ValueError(f'The arrays must be floats: {_brief(other)} in {where}.')


def read(checkpoint: str | pathlib.Path, config: ModelConfig) -> Weights:
  """Reads the weights, one array at a time, in the type of the activations.

  LoRA factors are merged in float32 before. The host never holds more than one
  array beside those that are done.

  Args:
    checkpoint: folder with params and assets.
    config: the sizes that the arrays must have.

  Raises:
    ValueError: no checkpoint, or one of another model.
  """
  path = find(checkpoint)
  found = list_arrays(path)
  check(found, config, path)
  digest, flat = hashlib.sha256(), {}
  dtype = jnp.dtype(config.dtype)
  merged = _find_lora(found, arrays(config))
  for name in sorted(arrays(config)):
    x = _restore(path, found[name])
    if name in merged:
      a, b = (_restore(path, found[factor]) for factor in lora_names(name))
      x = lora.merge(name, x, a, b)
    x = np.ascontiguousarray(x.astype(dtype))
    if not np.isfinite(x).all():
      raise ValueError(f'Weights must be finite: {name} in {path} is not.')
    digest.update(f'{name}{x.shape}{x.dtype}'.encode())
    digest.update(x.view(np.uint8).data)
    flat[name] = jax.device_put(x)
  params = flax.traverse_util.unflatten_dict(flat, sep='/')
  return Weights(params, digest.hexdigest())


def write(
  checkpoint: str | pathlib.Path, params: Params, *, wrap: bool = True
) -> None:
  """Writes weights as openpi does, so that it can read them.

  Args:
    checkpoint: folder; it must not hold params yet.
    params: nested, as openpi names them.
    wrap: whether each array gets a key 'value', as in a training run.
  """
  path = pathlib.Path(checkpoint).absolute() / _FOLDER
  if path.exists():
    raise ValueError(f'The checkpoint must not hold weights yet: {path}.')
  flat = flax.traverse_util.flatten_dict(params)
  tree = {
    (_ROOT, *keys, *((_LEAF,) if wrap else ())): np.asarray(x)
    for keys, x in flat.items()
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  with _quiet(), ocp.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(path, flax.traverse_util.unflatten_dict(tree))


def _find_lora(found, expected):
  """Returns the adaptable arrays with both factors, of fitting shapes."""
  names = []
  for name in filter(is_adaptable, expected):
    if name not in found:
      continue
    a, b = (found.get(factor) for factor in lora_names(name))
    shape = found[name].shape
    if a and b and len(a.shape) == len(shape):
      rank = a.shape[-1]
      fits = (*shape[:-1], rank), (*shape[:-2], rank, shape[-1])
      if (a.shape, b.shape) == fits:
        names.append(name)
  return names


def _restore(path, stored):
  """Reads one array to the host, whatever device it was saved from."""
  item = ocp.ArrayRestoreArgs(restore_type=np.ndarray)
  blank = 0
  for key in reversed(stored.keys):
    item, blank = {key: item}, {key: blank}
  args = ocp.args.PyTreeRestore(
    item=blank, restore_args=item, partial_restore=True
  )
  try:
    with _quiet():
      tree = ocp.PyTreeCheckpointHandler().restore(path, args=args)
  except (ValueError, KeyError, OSError) as error:
    name = '/'.join(stored.keys)
    reason = str(error).partition('\n')[0][:200]
    raise ValueError(
      f'Every array of a checkpoint must be readable: {name} in {path} is not '
      f'({type(error).__name__}: {reason}). Copy the checkpoint again.'
    ) from None
  return jax.tree.leaves(tree)[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps Orbax from reporting, for each array, files it can do without."""
  logger = logging.getLogger('absl')
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _brief(names):
  """Returns names for a message, the first of them if they are many."""
  if not names:
    return 'none'
  rest = len(names) - _NAMED
  return ', '.join(names[:_NAMED]) + (f' and {rest} more' if rest > 0 else '')
