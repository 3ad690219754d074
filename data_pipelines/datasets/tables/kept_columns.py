"""The columns of a large prepared table in an Arrow file beside it: one by one, a million rows take minutes to read."""

from collections.abc import Mapping, Sequence
import hashlib
import itertools
import pathlib
import sys
from typing import Any

from data_pipelines.files import open_whole
from data_pipelines.locks import one_at_a_time

FEWEST = 2**14  # rows; fewer are read in a second
BLOCK = 2**13  # rows that are Arrow's and Python's at a time


def kept_file(table: pathlib.Path, split: str) -> pathlib.Path:
  """The file of a split's columns: another one when the table's own have other names or sizes."""
  files = sorted((path.name, path.stat().st_size) for path in table.glob(f"*-{split}.*"))
  return table / f"{split}-{hashlib.sha256(repr(files).encode()).hexdigest()[:8]}.arrow"


def keep_columns(file: pathlib.Path, columns: Mapping[str, Sequence[Any]]) -> None:
  """Writes columns of texts, numbers and tuples of texts; says so where the folder cannot be written."""
  import pyarrow  # takes a while

  types = {int: pyarrow.int64(), str: pyarrow.string(), tuple: pyarrow.list_(pyarrow.string())}
  schema = pyarrow.schema([(name, types[type(column[0])]) for name, column in columns.items()])
  (num_rows,) = set(map(len, columns.values()))
  try:
    with one_at_a_time(file.with_suffix(".lock")):
      if file.exists():  # another run has kept them meanwhile
        return
      with open_whole(file) as stream, pyarrow.ipc.new_file(stream, schema) as writer:
        for start in range(0, num_rows, BLOCK):
          block = {name: column[start : start + BLOCK] for name, column in columns.items()}
          writer.write_batch(pyarrow.RecordBatch.from_pydict(block, schema))
  except OSError as error:
    print(f"{file} cannot be written, the next run reads all rows again: {error.strerror}", file=sys.stderr)


def read_kept_columns(file: pathlib.Path) -> dict[str, list]:
  """The columns that `keep_columns` wrote; texts that are there often, as names of images, are one object."""
  import pyarrow

  texts: dict[str, str] = {}
  with pyarrow.memory_map(str(file)) as stream:
    reader = pyarrow.ipc.open_file(stream)
    columns: dict[str, list] = {name: [] for name in reader.schema.names}
    for number in range(reader.num_record_batches):
      batch = reader.get_batch(number)
      for name, column in columns.items():
        values = batch.column(name)
        if not pyarrow.types.is_list(values.type):
          column.extend(_shared(values, texts))
          continue
        together = _shared(values.values, texts)
        column.extend(tuple(together[start:end]) for start, end in itertools.pairwise(values.offsets.to_pylist()))
  return columns


def _shared(values: Any, texts: dict[str, str]) -> list:
  """The numbers or texts of an Arrow array; each text is the object that `texts` has for it."""
  own = values.to_pylist()
  return list(map(texts.setdefault, own, own)) if own and isinstance(own[0], str) else own
