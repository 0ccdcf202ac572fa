"""Rewrites a LeRobot dataset as version 2.1, with a file per episode."""

import io
import json

import av
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from rlt_jax.datasets.lerobot import format as format_lib


def encode(file, pictures, fps):
  """Writes a lossless video [T, height, width, 3] with B-frames."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(file), 'w') as container:
    stream = container.add_stream('libx264rgb', rate=fps)
    stream.height, stream.width = pictures.shape[1:3]
    stream.pix_fmt, stream.options = 'rgb24', {'crf': '0', 'bf': '2'}
    for picture in pictures:
      frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write(source, folder, *, video):
  """Writes a dataset of version 3.0 with pictures in parquet as 2.1.

  Args:
    source: folder to read. folder: to write.
    video: whether its pictures become videos.
  """
  table = pq.read_table(source / 'data/chunk-000/file-000.parquet')
  episodes = pq.read_table(source / 'meta/episodes/chunk-000/file-000.parquet')
  info = json.loads((source / format_lib.INFO_PATH).read_text('utf-8'))
  cameras = [k for k, x in info['features'].items() if x['dtype'] == 'image']
  info |= {
    'codebase_version': 'v2.1',
    'data_path': format_lib.V21_DATA_PATH,
    'video_path': format_lib.V21_VIDEO_PATH if video else None,
    'total_chunks': 1,
    'total_videos': 9 * video,
  }
  lines = []
  for row in episodes.to_pylist():
    number = row['episode_index']
    names = {'episode_chunk': 0, 'episode_index': number}
    start, stop = row['dataset_from_index'], row['dataset_to_index']
    part = table.slice(start, stop - start)
    # Lists of any length, as 2.1 has them.
    for key in ('observation.state', 'action'):
      column = pa.array(part[key].to_pylist(), pa.list_(pa.float32()))
      part = part.set_column(part.column_names.index(key), key, column)
    for key in cameras if video else ():
      pictures = [
        np.asarray(PIL.Image.open(io.BytesIO(cell['bytes'])))
        for cell in part[key].to_pylist()
      ]
      name = format_lib.V21_VIDEO_PATH.format(video_key=key, **names)
      encode(folder / name, np.stack(pictures), info['fps'])
      part = part.drop_columns([key])
    file = folder / format_lib.V21_DATA_PATH.format(**names)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(part, file)
    lines.append({
      'episode_index': number, 'tasks': row['tasks'], 'length': row['length'],
    })  # fmt: skip
  for key in cameras if video else ():
    info['features'][key] |= {'dtype': 'video'}
  tasks = pq.read_table(source / 'meta/tasks.parquet').to_pylist()
  (folder / 'meta').mkdir()
  for path, rows in (
    (format_lib.V21_EPISODES_PATH, lines),
    (format_lib.V21_TASKS_PATH, tasks),
  ):
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    (folder / path).write_text(text, 'utf-8')
  (folder / format_lib.INFO_PATH).write_text(json.dumps(info), 'utf-8')
  return folder
