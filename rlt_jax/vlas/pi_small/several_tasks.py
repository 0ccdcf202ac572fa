"""What a training on several tasks needs beside the frames: sizes, start."""

from collections.abc import Sequence
import dataclasses

import jax
import numpy as np

from rlt_jax.types import Params, PRNGKey
from rlt_jax.vlas import task_mix
from rlt_jax.vlas.demo_shards import Index
from rlt_jax.vlas.known_tasks import (
  joint_entries,
  KnownTask,
  Measured,
  of_facts,
)
from rlt_jax.vlas.pi_small import dataset, tokenizer
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.pi_small.model import VlaNorm
from rlt_jax.vlas.pi_small.pi_vla import PiVla
from rlt_jax.vlas.pi_small.train import PARTS

_EMBED = 'Embed_0'  # of the prefix
_WORD_SCALE = 0.5  # deviation of an untrained word's entries
_PLACE_SCALE = 0.2  # and of an untrained place's in the prompt


def make_config(config: PiConfig, indexes: Sequence[Index]) -> PiConfig:
  """Returns the sizes of a VLA of several tasks.

  Its state is positions and rates of the joints, which all tasks share, its
  words are all that the tasks use, and its prompt is as long as their longest
  text.

  Args:
    config: of the weights to start from, or the default.
    indexes: of the demonstrations of each task.
  """
  texts = []
  for index in indexes:
    for task in of_facts(index.tasks):
      texts += task.instructions()
    texts += [str(text) for x in index.instructions for text in np.unique(x)]
  words = tokenizer.collect(texts, config.words)
  longest = max(len(tokenizer.split(text)) for text in texts)
  return dataclasses.replace(
    config,
    state='joints',
    prompt_length=max(config.prompt_length, longest),
    proprio_dim=2 * config.action_dim,
    words=words,
    vocabulary=len(words) + 1,
  )


def adapt(key: PRNGKey, start: PiVla, config: PiConfig, part: str) -> Params:
  """Returns trained params with the sizes of a VLA of several tasks.

  A word that the start knows, or has hashed, keeps its embedding; a new one is
  drawn. Of a state that begins with positions and rates of the joints these are
  kept.

  Args:
    key: consumed; new words.
    start: the VLA to go on from.
    config: of `make_config`, with the start's other sizes.
    part: to train, a key of PARTS.

  Raises:
    ValueError: new words for a prefix that stays as it is, or a start whose
      state does not begin with positions and rates of the joints.
  """
  params = dict(start.params)
  prefix, expert = dict(params['prefix']), dict(params['expert'])
  old = start.config
  new = [word for word in config.words if old.words and word not in old.words]
  longer = config.num_tokens > old.num_tokens
  if 'prefix' not in PARTS[part] and (new or longer or not old.words):
    raise ValueError(
      f'A prefix that is not trained must know all words of the tasks, as part '
      f'is {part!r}: {", ".join(new) or "it has hashes, or a shorter prompt"}.'
    )
  word_key, place_key = jax.random.split(key)
  table = np.asarray(prefix[_EMBED]['embedding'])
  rows, drawn = [table[0]], _draw(word_key, len(config.words), table)
  for word, row in zip(config.words, drawn, strict=True):
    if word in new:
      rows.append(_WORD_SCALE * row)
    elif old.words:
      rows.append(table[1 + old.words.index(word)])
    else:
      rows.append(table[tokenizer.hashed(word)])
  prefix[_EMBED] = {'embedding': np.stack(rows).astype(np.float32)}
  places = np.asarray(prefix['position'])  # of the prompt last
  more = _draw(place_key, config.num_tokens - old.num_tokens, places)
  prefix['position'] = np.concatenate([places, _PLACE_SCALE * more])
  entries = config.proprio_dim
  if old.state != 'joints':
    _check_begins_with_joints(start)
    layer = dict(expert['state_in'])
    layer['kernel'] = np.asarray(layer['kernel'])[:entries]
    expert['state_in'] = layer
  norm: VlaNorm = params['norm']
  norm = norm._replace(
    proprio_mean=norm.proprio_mean[:entries],
    proprio_std=norm.proprio_std[:entries],
  )
  return params | {'prefix': prefix, 'expert': expert, 'norm': norm}


def _draw(key: PRNGKey, rows: int, like: np.ndarray) -> np.ndarray:
  shape = (rows, like.shape[1])
  return np.asarray(jax.random.normal(key, shape), np.float32)


def know(
  indexes: Sequence[Index], action_scale: Sequence[tuple[float, ...]]
) -> tuple[KnownTask, ...]:
  """Returns what the weights know of each task; reads small columns.

  Args:
    indexes: of the demonstrations of each task.
    action_scale: [A] unit of each task.
  """
  found = []
  for index, scale in zip(indexes, action_scale, strict=True):
    (task,) = index.tasks
    joints = index.facts['joint_names']
    proprio, measured = task_mix.read_proprio(index)
    kinds = {joint_entries(joints): measured}
    kinds |= {tuple(task.proprio_names): proprio}
    statistics = []
    for entries, x in kinds.items():
      mean, std = dataset.measure_proprio(x, len(joints))
      statistics.append(Measured(entries, _numbers(mean), _numbers(std)))
    found += of_facts([task], action_scale=scale, proprio=tuple(statistics))
  return tuple(found)


def _numbers(x: np.ndarray) -> tuple[float, ...]:
  return tuple(float(np.float32(entry)) for entry in x)


def _check_begins_with_joints(start: PiVla) -> None:
  """Raises a ValueError where the start's state is known to be another."""
  names = joint_entries(start.spec.joint_names)
  for task in start.tasks:
    for kind in task.proprio:
      if kind.names[: len(names)] != names:
        raise ValueError(
          'Weights to start from must read positions and rates of the joints, '
          f'{list(names[:1])} to {list(names[-1:])}: those of '
          f'{task.name} read {list(kind.names[:3])} ...'
        )
