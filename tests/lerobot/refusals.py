"""What LeRobot lets pass and `checkpoint.load` does not; LeRobot's Python.

  PYTHONPATH=. python -m tests.lerobot.refusals CHECKPOINT FACTS FOLDER

Prints JSON: by case the refusal, or the fingerprint.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import shutil
import sys

from rlt_jax.lerobot import checkpoint as checkpoint_lib
from rlt_jax.lerobot import facts as facts_lib
from rlt_jax.lerobot.service import LeRobotVla
from tests.lerobot import tiny_policies

_NORMALIZER = 'policy_preprocessor*_normalizer_processor.safetensors'


def _change(name, folder):
  """Spoils a copy of a checkpoint."""
  from safetensors.torch import load_file, save_file

  weights = folder / checkpoint_lib.WEIGHTS
  arrays = load_file(weights)
  first = min(arrays, key=lambda key: arrays[key].numel())
  if name == 'missing array':
    del arrays[first]
  elif name == 'extra array':
    arrays['model.more'] = arrays[first].clone()
  elif name == 'other shape':
    arrays[first] = arrays[first].new_zeros((3, 5, 7))
  elif name == 'not finite':
    arrays[first] = arrays[first] * float('nan')
  elif name == 'other weights':
    arrays[first] = arrays[first] + 1.0
  elif name == 'other statistics':
    (file,) = folder.glob(_NORMALIZER)
    stats = load_file(file)
    stats = {key: x + 0.125 for key, x in stats.items()}
    save_file(stats, file)
  elif name == 'no statistics':
    (file,) = folder.glob(_NORMALIZER)
    stats = load_file(file)
    kept = {k: x for k, x in stats.items() if 'observation.state' not in k}
    save_file(kept, file)
  save_file(arrays, weights)
  if name == 'cut file':
    weights.write_bytes(weights.read_bytes()[:-100])


def main() -> None:
  """Runs all cases."""
  source, facts_file, folder = map(pathlib.Path, sys.argv[1:])
  tiny_policies.shrink()
  facts = facts_lib.load(facts_file)
  found = {}
  faster = dataclasses.replace(facts, control_hz=25.0)
  fewer = dataclasses.replace(facts, cameras=facts.cameras[:2])
  cases = [
    ('whole', facts), ('missing array', facts), ('extra array', facts),
    ('other shape', facts), ('cut file', facts), ('not finite', facts),
    ('no statistics', facts), ('other weights', facts),
    ('other statistics', facts), ('other facts', faster),
    ('missing camera', fewer),
  ]  # fmt: skip
  for name, given in cases:
    copy = folder / name.replace(' ', '_')
    shutil.copytree(source, copy)
    _change(name, copy)
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        loaded = checkpoint_lib.load(
          copy, device='cpu', tokenizer=str(tiny_policies.TOKENIZER)
        )
      found[name] = LeRobotVla(loaded, given).fingerprint
    except ValueError as error:
      found[name] = str(error)
  print(json.dumps(found))


if __name__ == '__main__':
  main()
