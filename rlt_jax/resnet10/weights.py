"""The files of a trunk: resnet10.safetensors (float16) and resnet10.json."""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_arrays

from rlt_jax import files, float16
from rlt_jax.resnet10.network import ResNet10
from rlt_jax.types import Params

SHIPPED = pathlib.Path(__file__).parent / 'assets'
_WEIGHTS, _RECORD = 'resnet10.safetensors', 'resnet10.json'


def save(
  folder: pathlib.Path,
  params: Params,
  *,
  metrics: Mapping[str, Any],
  command: Sequence[str],
) -> None:
  """Writes weights, rounded to float16, and what is known of them.

  Args:
    folder: created if missing.
    params: of `ResNet10`.
    metrics: of the training, JSON types.
    command: the command line that trained it.

  Raises:
    ValueError: weights that float16 cannot hold, by name.
  """
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  packed = float16.pack(flat)
  folder.mkdir(parents=True, exist_ok=True)
  files.write_atomically(folder / _WEIGHTS, save_arrays(packed))
  record = {'metrics': dict(metrics), 'command': list(command)}
  files.write_atomically(folder / _RECORD, json.dumps(record, indent=1) + '\n')


def load(folder: pathlib.Path = SHIPPED) -> Params:
  """Returns the float32 params of a trunk.

  Args:
    folder: as `save` left it; the shipped one by default.

  Raises:
    ValueError: no weights there, or those of another network, by name.
  """
  path = folder / _WEIGHTS
  if not path.is_file():
    raise ValueError(
      f'A ResNet-10 must be a folder with {_WEIGHTS}, written by '
      f'experiments.train_resnet10: {folder}.'
    )
  flat = files.read_arrays(path)
  size = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  wanted = jax.eval_shape(ResNet10().init, jax.random.key(0), size)['params']
  wanted = flax.traverse_util.flatten_dict(wanted, sep='/')
  found = {name: np.shape(x) for name, x in flat.items()}
  if found != {name: x.shape for name, x in wanted.items()}:
    names = sorted(set(found) ^ set(wanted)) or [
      name for name in wanted if found[name] != wanted[name].shape
    ]
    raise ValueError(
      f'Weights must be those of a ResNet-10: {path} differs in {names[0]}.'
    )
  arrays = {name: jnp.asarray(x, jnp.float32) for name, x in flat.items()}
  return flax.traverse_util.unflatten_dict(arrays, sep='/')
