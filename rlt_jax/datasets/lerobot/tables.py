"""The parquet tables of a LeRobot dataset, as pyarrow has them."""

from collections.abc import Mapping, Sequence
import json
from typing import Any

import numpy as np

from rlt_jax.datasets import recording
from rlt_jax.datasets.lerobot import format as format_lib
from rlt_jax.datasets.lerobot.format import Feature

HISTOGRAM = 'histogram/'  # before a camera's key in meta/episodes; ours
NUMBERS = ('float32', 'float64', 'int64', 'bool')
_PATHS = ('chunk_index', 'file_index')


def pyarrow() -> Any:
  """Returns the module pyarrow; raises ImportError if it is missing."""
  return recording.import_extra('pyarrow', 'LeRobot datasets')


def parquet() -> Any:
  """Returns the module pyarrow.parquet, likewise."""
  return recording.import_extra('pyarrow.parquet', 'LeRobot datasets')


def data_schema(features: Mapping[str, Feature]) -> Any:
  """Returns the schema of data files; videos have no column."""
  pa = pyarrow()
  fields, described = [], {}
  for key, feature in features.items():
    if feature.dtype == format_lib.VIDEO:
      continue
    if feature.dtype == format_lib.IMAGE:
      kind = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
      described[key] = {'_type': 'Image'}
    else:
      kind = pa.from_numpy_dtype(np.dtype(feature.dtype))
      described[key] = {'dtype': feature.dtype, '_type': 'Value'}
      if feature.shape != (1,):
        (length,) = feature.shape
        kind = pa.list_(kind, length)
        described[key] = {
          'feature': described[key], 'length': length, '_type': 'List'
        }  # fmt: skip
    fields.append(pa.field(key, kind))
  # By this Hugging Face's `datasets` knows pictures from bytes.
  about = json.dumps({'info': {'features': described}})
  return pa.schema(fields, {'huggingface': about})


def column(values: Sequence[Any], feature: Feature, kind: Any) -> Any:
  """Returns the frames of a column as a pyarrow array.

  Args:
    values: numbers of the feature's shape, or contents of picture files.
    feature: of the column.
    kind: type of the column in the schema.
  """
  pa = pyarrow()
  if feature.dtype == format_lib.IMAGE:
    return pa.array([{'bytes': x, 'path': None} for x in values], kind)
  flat = np.asarray(values, feature.dtype).reshape(-1)
  if feature.shape == (1,):
    return pa.array(flat, kind)
  return pa.FixedSizeListArray.from_arrays(pa.array(flat), *feature.shape)


def tasks_table(tasks: Sequence[str]) -> Any:
  """Returns the content of meta/tasks.parquet.

  The text is the index of a pandas table, which is said in the metadata.
  """
  pa = pyarrow()
  names = [('task_index', 'int64', 'int64'), ('task', 'unicode', 'object')]
  about = {
    'index_columns': ['task'],
    'column_indexes': [{
      'name': None, 'field_name': None, 'pandas_type': 'unicode',
      'numpy_type': 'object', 'metadata': {'encoding': 'UTF-8'},
    }],
    'columns': [
      {'name': name, 'field_name': name, 'pandas_type': kind,
       'numpy_type': numpy_kind, 'metadata': None}
      for name, kind, numpy_kind in names
    ],
    'creator': {'library': 'pyarrow', 'version': pa.__version__},
    'pandas_version': '2.3.0',
  }  # fmt: skip
  table = pa.table(
    {
      'task_index': pa.array(range(len(tasks)), pa.int64()),
      'task': pa.array(tasks, pa.string()),
    }
  )
  return table.replace_schema_metadata({'pandas': json.dumps(about)})


def episode_table(row: Mapping[str, Any]) -> Any:
  """Returns the row of an episode as a table.

  Args:
    row: by column; arrays are flattened to lists.
  """
  pa = pyarrow()
  columns = {}
  for name, value in row.items():
    if isinstance(value, np.ndarray):
      kind = pa.list_(pa.from_numpy_dtype(value.dtype))
      columns[name] = pa.array([value.ravel().tolist()], kind)
    else:
      columns[name] = pa.array([value])
  return pa.table(columns)


def place_columns(prefix: str, chunk: int, file: int) -> dict[str, int]:
  """Returns the columns that say in which file an episode lies."""
  values = zip(_PATHS, (chunk, file), strict=True)
  return {f'{prefix}/{name}': value for name, value in values}
