"""Flags that name demonstrations, for all experiments that read some."""

from collections.abc import Callable
from typing import Any, NamedTuple, TYPE_CHECKING

from absl import flags

from . import launch

if TYPE_CHECKING:
  import numpy as np

  from rlt_jax.vlas.demo_source import DemoSource
  from rlt_jax.vlas.vla import FrozenVla

# The flags count as those of the experiment, so that its --help shows them.
flags.disclaim_key_flags()


class DemoFlags(NamedTuple):
  """Flags that name demonstrations; see `define_demos`.

  demos: a path, or the paths of several tasks.
  """

  demos: flags.FlagHolder[Any]
  mapping: flags.FlagHolder[str]

  def paths(self) -> list[str]:
    """Returns the path of each task."""
    given = self.demos.value
    paths = [given] if isinstance(given, str) else given
    if len(paths) > 1 and self.mapping.value:
      raise ValueError(f'--mapping is for one dataset: {paths}.')
    return paths

  def open(
    self,
    spec: Any,
    tokenize: 'Callable[[str], np.ndarray]',
    say: Callable[[str], None],
    **reads: bool,
  ) -> 'DemoSource':
    """Opens demonstrations of any format; see `datasets.opening`."""
    from rlt_jax.datasets import opening

    return opening.open_sources(
      self.paths(), spec, tokenize, say, self.mapping.value, **reads
    )

  def open_for(
    self, vla: 'FrozenVla', say: Callable[[str], None]
  ) -> 'DemoSource':
    """Opens demonstrations of any format for a VLA."""
    return self.open(vla.spec, vla.tokenize, say, reads_joints=vla.reads_joints)


def define_demos(several: bool = False) -> DemoFlags:
  """Defines --demos and --mapping; `several` lets --demos be repeated."""
  text = (
    'Demonstrations: .npz files of make_demos, a LeRobot dataset, or HDF5 '
    'episodes of ALOHA; a file or a folder.'
  )
  if several:
    demos = launch.define_paths(
      'demos',
      ['data/demos'],
      f'{text} Repeat it with .npz files for each of several tasks.',
    )
  else:
    demos = launch.define_path('demos', 'data/demos', text)
  return DemoFlags(
    demos=demos,
    mapping=launch.define_path(
      'mapping',
      '',
      'File that maps joints and cameras of a dataset of another project; see '
      'docs/datasets.md.',
    ),
  )
