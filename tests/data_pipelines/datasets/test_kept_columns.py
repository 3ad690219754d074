"""Columns of large tables, kept in a form that is read at once."""

import concurrent.futures

import pytest

from data_pipelines.datasets import builder
from data_pipelines.datasets.prepare import open_tables
from data_pipelines.datasets.tables.kept_columns import keep_columns, kept_file, read_kept_columns
from data_pipelines.files import open_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time

COLUMNS = {
  "name": [f"{i % 7}.jpg" for i in range(20_000)],
  "row": list(range(20_000)),
  "negatives": [tuple(f"{(i + j) % 7}.jpg" for j in range(i % 3)) for i in range(20_000)],
}


def test_what_is_kept_is_read_back_with_each_text_once(tmp_path):
  keep_columns(tmp_path / "columns.arrow", COLUMNS)
  read = read_kept_columns(tmp_path / "columns.arrow")
  assert read == COLUMNS
  texts = [*read["name"], *(name for own in read["negatives"] for name in own)]
  assert len({id(text) for text in texts}) == 7


def test_runs_that_start_together_write_one_after_the_other(tmp_path):
  file = tmp_path / "columns.arrow"
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    with one_at_a_time(file.with_suffix(".lock")), open_whole(file) as other:  # another run, which has begun
      written = thread.submit(keep_columns, file, COLUMNS)
      with pytest.raises(TimeoutError):
        written.result(timeout=0.5)
      other.write(b"as the other run has them")
    written.result(timeout=30)
  assert file.read_bytes() == b"as the other run has them"


@pytest.fixture
def tables(raw_mit_states, tmp_path, monkeypatch):
  monkeypatch.setattr(builder, "FEWEST", 10)
  return open_tables("mit_states", str(raw_mit_states), str(tmp_path))


def test_a_second_start_reads_no_row(tables, monkeypatch):
  first = builder.read_columns(tables["queries"], "test")
  monkeypatch.setattr(type(tables["queries"]), "as_data_source", lambda *_: pytest.fail("rows were read"))
  again = builder.read_columns(tables["queries"], "test")
  assert again == first and len(again["reference"]) == 24


def test_another_table_is_read_anew_and_a_damaged_file_is_named(tables, tmp_path):
  first = builder.read_columns(tables["queries"], "test")
  folder = next(tmp_path.glob("*/mit_states/queries/*"))
  file = kept_file(folder, "test")
  (part,) = folder.glob("*-test.*")
  part.write_bytes(part.read_bytes() + b"\0")
  assert kept_file(folder, "test") != file
  part.write_bytes(part.read_bytes()[:-1])
  assert builder.read_columns(tables["queries"], "test") == first
  file.write_bytes(file.read_bytes()[:1000])
  with pytest.raises(InputError, match="is damaged .*: delete this folder"):
    builder.read_columns(tables["queries"], "test")
