"""Data-parallel sharding over devices and hosts.

Batched arrays lead with their batch (environments [E], rows [B], seeds [S]), so
the mesh has one axis: `shard` splits axis 0 of every leaf, `replicate` copies,
and `shard_map_data` runs a function on independent shards without collectives.
The functions do not change, only the devices of their arguments.

On several hosts every process runs the same program with the same numbers.
Call `initialize_distributed` first; the rest is as on one host.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from rlt_jax.types import PRNGKey, Transition

_AXIS = 'data'


# (replay state, key) -> rows [B, ...].
Sample = Callable[[Any, PRNGKey], Transition]


def initialize_distributed(
  coordinator: str | None = None,
  processes: int | None = None,
  process: int | None = None,
) -> None:
  """Connects the processes of a run; call it before any other use of JAX.

  Under SLURM, Kubernetes or Open MPI leave the arguments out: JAX reads their
  variables itself.

  Args:
    coordinator: 'host:port' of process 0.
    processes: number of processes.
    process: index of this process, from 0.
  """
  jax.distributed.initialize(coordinator, processes, process)


def make_mesh(count: int | None = None) -> Mesh:
  """Returns a mesh of `count` devices, or of all devices of all hosts.

  Raises:
    ValueError: there are fewer devices.
  """
  devices = jax.devices()
  if count is not None and not 1 <= count <= len(devices):
    raise ValueError(
      f'The mesh must have 1 to {len(devices)} devices: {count}.'
    )
  return Mesh(np.array(devices[:count]), (_AXIS,))


def shard(tree: Any, mesh: Mesh) -> Any:
  """Returns the tree with every leaf's first axis split over the mesh.

  Args:
    tree: leaves lead with the same size; on several hosts each process
      passes the same numbers.
    mesh: of `make_mesh`.

  Raises:
    ValueError: the mesh does not divide a leaf's first axis.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    width = np.shape(leaf)[0] if np.ndim(leaf) else 0
    check_divides(width, mesh, 'axis 0 of ' + jax.tree_util.keystr(path))
  return _place(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Returns the tree, copied whole to every device of the mesh."""
  return _place(tree, NamedSharding(mesh, PartitionSpec()))


def shard_map_data(
  function: Callable[..., Any], mesh: Mesh, shared: int = 0
) -> Callable[..., Any]:
  """Returns the function, run by every device on its own shard alone.

  For rows that do not depend on each other, such as environments or agents. No
  device waits for another, as it would for the slowest environment of a
  solver's loop, and a function that works in blocks does so on its shard.

  Args:
    function: from trees whose leaves lead with a batch to trees that do, too.
      The mesh must divide the batch.
    mesh: of `make_mesh`.
    shared: number of leading arguments that are copied to every device.
  """
  replicated, sharded = PartitionSpec(), PartitionSpec(_AXIS)

  def run(*args):
    specs = (replicated,) * shared + (sharded,) * (len(args) - shared)
    return jax.shard_map(
      function, mesh=mesh, in_specs=specs, out_specs=sharded, check_vma=False
    )(*args)

  return run


def _place(tree: Any, sharding: NamedSharding) -> Any:
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)

  # Another host's devices cannot take an array of this host's devices, but can
  # take a NumPy array.
  def place(x):
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(place(jax.random.key_data(x)))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, x.__getitem__)

  return jax.tree.map(place, tree)


def shard_samples(sample: Sample, batch_size: int, mesh: Mesh) -> Sample:
  """Returns `sample` with its rows split over the mesh.

  An update that samples with it computes its rows on all devices; `replicate`
  its train state and its replay state.

  Args:
    sample: draws batch_size rows.
    batch_size: B, rows a batch.
    mesh: of `make_mesh`.

  Raises:
    ValueError: the mesh does not divide the batch.
  """
  check_divides(batch_size, mesh, 'the batch')
  rows = NamedSharding(mesh, PartitionSpec(_AXIS))

  def sharded(state: Any, key: PRNGKey) -> Transition:
    return jax.lax.with_sharding_constraint(sample(state, key), rows)

  return sharded


def check_divides(width: int, mesh: Mesh, what: str) -> None:
  """Raises a ValueError unless the mesh divides `what`, of this width."""
  if width < 1 or width % mesh.size:
    raise ValueError(
      f'The mesh must divide {what}, {width}: {mesh.size} devices.'
    )
