"""Changes the files of a LeRobot dataset."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from rlt_jax.datasets.lerobot import format as format_lib

DATA_FILE = 'data/chunk-000/file-000.parquet'


def change(folder, file=DATA_FILE, **columns):
  """Replaces columns of a parquet file by functions of them."""
  table = pq.read_table(folder / file)
  for key, function in columns.items():
    key = key.replace('__', '.')
    column = table[key]
    values = pa.array(function(column.to_pylist()), column.type)
    table = table.set_column(table.column_names.index(key), key, values)
  pq.write_table(table, folder / file)


def set_info(folder, **changes):
  file = folder / format_lib.INFO_PATH
  table = json.loads(file.read_text('utf-8'))
  file.write_text(json.dumps(table | changes), 'utf-8')


def add(folder, key, values):
  """Adds a column of numbers [F, n]."""
  table = pq.read_table(folder / DATA_FILE)
  column = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
  pq.write_table(table.append_column(key, column), folder / DATA_FILE)
  info = json.loads((folder / format_lib.INFO_PATH).read_text('utf-8'))
  feature = {'dtype': 'float32', 'shape': [values.shape[1]], 'names': None}
  set_info(folder, features=info['features'] | {key: feature})
