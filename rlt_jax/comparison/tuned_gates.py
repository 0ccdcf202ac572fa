"""Gates of methods that train the VLA, on the reports of finished runs."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

from rlt_jax import files
from rlt_jax.comparison.verdict import Verdict
from rlt_jax.finetuning.training import COLLECTED, DEMONSTRATIONS
from rlt_jax.reporting import pooling

_LEAST_RANK = 0.5
_MAY_RISE = 1.1  # flow loss of held-out demonstrations, times that before

Folders = Sequence[pathlib.Path]


def enough_collected(folders: Folders) -> Verdict:
  """Says whether each run had enough to train on in its last round."""
  seeds = [
    {
      'stretches': sum(x['stretches'] for x in method['rounds']),
      'median_steps': method['rounds'][-1]['median_stretch_steps'],
      'least': method['settings']['least'],
    }
    for method in _methods(folders)
  ]
  passed = all(x['stretches'] >= x['least'] for x in seeds)
  return Verdict(bool(seeds) and passed, {'seeds': seeds})


def loss_falls(folders: Folders) -> Verdict:
  """Compares the flow loss of what was collected and is held out."""
  return _compare(folders, COLLECTED, lambda x: x['after'] < x['before'])


def keeps_demonstrations(folders: Folders) -> Verdict:
  """Compares the flow loss of held-out demonstrations."""
  return _compare(
    folders, DEMONSTRATIONS, lambda x: x['after'] <= _MAY_RISE * x['before']
  )


def value_ranks(folders: Folders) -> Verdict:
  """Says whether the value of held-out episodes follows their returns."""
  seeds = [method['rounds'][-1]['value'] for method in _methods(folders)]
  passed = all(x and x['rank'] > _LEAST_RANK for x in seeds)
  return Verdict(bool(seeds) and passed, {'seeds': seeds})


def not_below_start(folders: Folders, policy: str) -> Verdict:
  """Compares success with that of the VLA before, asked as often.

  Args:
    folders: of finished runs.
    policy: whose figures count.

  Raises:
    ValueError: runs without an evaluation of the VLA before.
  """
  if not folders:
    return Verdict(False, {'finished': 0})
  pooled = pooling.pool_seeds('row', folders)
  name = f'base{pooled["config"]["chunk_size"]}@0'
  if name not in pooled['points']:
    raise ValueError(f'{folders[0]} has no evaluation {name}.')
  start = pooled['points'][name]['success']
  final = pooling.along(pooled, policy)[-1][1]
  return Verdict(
    final['success_high'] >= start, {'start': start, 'final': final['success']}
  )


def _compare(
  folders: Folders, name: str, rule: Callable[[Mapping[str, float]], bool]
) -> Verdict:
  """Applies a rule to a set's loss in the last round of each run."""
  seeds = [
    method['rounds'][-1]['held_out'].get(name, {})
    for method in _methods(folders)
  ]
  # A run that trained nothing has no loss.
  return Verdict(
    bool(seeds) and all(x and rule(x) for x in seeds), {'seeds': seeds}
  )


def _methods(folders: Folders) -> list[dict[str, Any]]:
  """Returns what the reports say of the trainings.

  Raises:
    ValueError: a report of a run that trained no VLA.
  """
  return [
    files.read_json(folder / 'report.json', ('finetuning',))['finetuning']
    for folder in folders
  ]
