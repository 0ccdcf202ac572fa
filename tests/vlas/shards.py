"""Files of demonstrations for tests."""

import numpy as np

from rlt_jax.vlas import demos as demos_lib


def write(file, demos, rows=None, **changes):
  """Writes frames as a shard.

  Args:
    file: of the shard.
    demos: the frames and their action space.
    rows: [F] of the frames; None takes all. Odd rows are told to lift.
    **changes: arrays that replace or add to those written.
  """
  rows = np.arange(len(demos)) if rows is None else rows
  arrays = demos_lib.take(demos.frames, rows)._asdict()
  images = arrays.pop('images')
  arrays |= {f'images/{camera}': x for camera, x in images.items()}
  del arrays['prompt']
  arrays |= {
    'instruction': np.where(rows % 2, 'lift it', 'insert'),
    'action_scale': np.array(demos.action_scale),
    'action_mode': np.array(demos.action_mode),
    'joint_names': np.array(demos.joint_names),
    'control_hz': np.array(demos.control_hz),
  }
  np.savez(file, **(arrays | changes))
