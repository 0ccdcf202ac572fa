"""Makes episodes as ALOHA records them."""

import io

import h5py
import numpy as np
import PIL.Image

JOINTS = 14


def episode(length=30, seed=0, joints=JOINTS):
  """Returns qpos, qvel, action and two cameras of an episode."""
  rng = np.random.default_rng(seed)
  time = np.arange(length)[:, None] / 50.0
  phase = rng.uniform(0.0, 6.0, joints)
  qpos = np.sin(3.0 * time + phase)
  qpos[:, 6::7] = 0.5 + 0.5 * qpos[:, 6::7]  # grippers, 0 to 1
  images = {
    name: rng.integers(0, 256, (length, 12, 16, 3)).astype(np.uint8)
    for name in ('cam_high', 'cam_low')
  }
  return {
    'observations/qpos': qpos,
    'observations/qvel': np.gradient(qpos, 0.02, axis=0),
    'action': qpos + 0.01,
  } | {f'observations/images/{k}': x for k, x in images.items()}


def jpeg(pictures):
  """Returns JPEGs [T, bytes], padded with zeros to one length."""
  parts = []
  for picture in pictures:
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, 'JPEG', quality=95)
    parts.append(np.frombuffer(file.getvalue(), np.uint8))
  longest = max(map(len, parts))
  return np.stack([np.pad(x, (0, longest - len(x))) for x in parts])


def write(file, columns, *, compressed=False):
  """Writes an episode; `compressed` stores the pictures as JPEG."""
  with h5py.File(file, 'w') as content:
    for key, column in columns.items():
      if compressed and 'images' in key:
        column = jpeg(column)
      content[key] = column
  return file


def mapping(joints=JOINTS):
  """Returns the mapping's table of these episodes."""
  rows = []
  for i in range(joints):
    row = {'joint': f'j{i}', 'state': str(i), 'recorded': 'rad'}
    if i % 7 == 6:
      row |= {
        'recorded': 'fraction', 'unit': 'm', 'at_low': 0.0, 'at_high': 0.04,
      }  # fmt: skip
    rows.append(row)
  return {
    'joints': rows,
    'cameras': [
      {'camera': 'top', 'key': 'observations/images/cam_high'},
      {'camera': 'low', 'key': 'observations/images/cam_low'},
    ],
    'actions': 'joint_position',
    'control_hz': 50.0,
    'resample': 'never',
    'velocities': 'observations/qvel',
    'state_key': 'observations/qpos',
    'instruction': 'Insert the plug.',
    'fps': 50.0,
    'color_order': 'rgb',
  }
