"""Work spread over devices and hosts: worlds, batch rows, seeds.

Whatever is wide leads with its width (worlds [E], rows [B], one learner a
seed), so one mesh axis serves all of them: `spread` splits leaves along their
first axis, `copy` puts the rest whole on every device, and XLA adds what must
be added. Functions stay as they are; only where their arguments live changes.
What adds nothing up across its width goes through `apart`.

On several hosts every process runs the same program with the same numbers:
`join_hosts` first, then everything else as on one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from rlt_jax.types import PRNGKey, Transition

_AXIS = 'wide'


class _Samples(Protocol):
  sample: Callable[[Any, PRNGKey], Transition]


class SpreadSampler(NamedTuple):
  """sample: (replay state, key) -> rows [B, ...], spread over a mesh."""

  sample: Callable[[Any, PRNGKey], Transition]


def join_hosts(
  coordinator: str | None = None,
  processes: int | None = None,
  process: int | None = None,
) -> None:
  """Joins the other processes of this run; call it before any other JAX.

  Under SLURM, Kubernetes or Open MPI leave the arguments out: JAX reads their
  variables itself.

  Args:
    coordinator: 'host:port' of process 0.
    processes: how many there are.
    process: this one's number, from 0.
  """
  jax.distributed.initialize(coordinator, processes, process)


def make(count: int | None = None) -> Mesh:
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


def spread(tree: Any, mesh: Mesh) -> Any:
  """Returns the tree with every leaf's first axis split over the mesh.

  Args:
    tree: leaves lead with the same width; on several hosts each process
      passes the same numbers.
    mesh: of `make`.

  Raises:
    ValueError: the mesh does not divide a leaf's first axis.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    width = np.shape(leaf)[0] if np.ndim(leaf) else 0
    _check_divides(width, mesh, 'the width of ' + jax.tree_util.keystr(path))
  return _place(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))


def copy(tree: Any, mesh: Mesh) -> Any:
  """Returns the tree, whole on every device of the mesh."""
  return _place(tree, NamedSharding(mesh, PartitionSpec()))


def apart(
  function: Callable[..., Any], mesh: Mesh, shared: int = 0
) -> Callable[..., Any]:
  """Returns the function, run by every device on its own share alone.

  For what has nothing to do with its neighbours, such as worlds or agents: no
  device waits for another, as it would for the slowest world of a solver's
  loop, and what the function does in blocks it does to a device's share.

  Args:
    function: from trees whose leaves lead with a width to trees that do, too.
      The mesh must divide the width.
    mesh: of `make`.
    shared: how many arguments, the first ones, every device gets whole.
  """
  whole, wide = PartitionSpec(), PartitionSpec(_AXIS)

  def run(*args):
    specs = (whole,) * shared + (wide,) * (len(args) - shared)
    return jax.shard_map(
      function, mesh=mesh, in_specs=specs, out_specs=wide, check_vma=False
    )(*args)

  return run


def _place(tree: Any, sharding: NamedSharding) -> Any:
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)

  # A device's own array can't go to another host's devices, a host's can.
  def place(x):
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(place(jax.random.key_data(x)))
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, x.__getitem__)

  return jax.tree.map(place, tree)


def spread_batches(replay: _Samples, batch: int, mesh: Mesh) -> SpreadSampler:
  """Returns a sampler whose rows are split over the mesh.

  An update that reads from it runs its rows on all devices; `copy` its train
  state and its replay state.

  Args:
    replay: what to sample from.
    batch: B, rows a batch.
    mesh: of `make`.

  Raises:
    ValueError: the mesh does not divide the batch.
  """
  _check_divides(batch, mesh, 'the batch')
  rows = NamedSharding(mesh, PartitionSpec(_AXIS))

  def sample(state: Any, key: PRNGKey) -> Transition:
    return jax.lax.with_sharding_constraint(replay.sample(state, key), rows)

  return SpreadSampler(sample)


def _check_divides(width: int, mesh: Mesh, what: str) -> None:
  if width < 1 or width % mesh.size:
    raise ValueError(
      f'The mesh must divide {what}, {width}: {mesh.size} devices.'
    )
