import json
import tracemalloc

from hypothesis import example, given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from data_pipelines.datasets.catalogue.row_files import Columns, read_rows
from data_pipelines.input_error import InputError

COLUMNS = Columns(("image", "caption"), ("split",))
ROWS = [
  {"image": "a.png", "caption": "red, long\n dress", "split": "test"},
  {"image": "b é.png", "caption": 'a "blue" one', "split": ""},
]
CSV = 'image,caption,split\na.png,"red, long\n dress",test\nb é.png,"a ""blue"" one",\n'


def write_parquet(path, rows):
  parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
  parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITE = {
  "csv": lambda path, rows: path.write_text(CSV),
  "jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
  "parquet": write_parquet,
}


@pytest.mark.parametrize("kind", WRITE)
def test_all_kinds_of_files_hold_the_same_rows(tmp_path, kind):
  path = tmp_path / f"rows.{kind}"
  WRITE[kind](path, ROWS)
  assert [row.fields for row in read_rows(path, COLUMNS)] == ROWS


@pytest.mark.parametrize("change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n") + b"\r\n\r\n"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_marks_line_ends_and_blank_lines_change_nothing(tmp_path, kind, change):
  path = tmp_path / f"rows.{kind}"
  WRITE[kind](path, ROWS)
  path.write_bytes(change(path.read_bytes()))
  assert [row.fields for row in read_rows(path, COLUMNS)] == ROWS


BAD = [
  ("rows.csv", b"", "rows.csv: no column image, caption .found: nothing."),
  ("rows.csv", b"image;caption\na.png;red\n", "rows.csv:1: 'image;caption': columns separated by ';', expected commas"),
  ("rows.csv", b"image\tcaption\na.png\tred\n", r"rows.csv:1: .*: columns separated by '\\t', expected commas"),
  ("rows.csv", b"image,caption\n", "rows.csv: no rows"),
  ("rows.csv", b"image,caption,image\n", "rows.csv:1: 'image, caption, image': a column is there twice"),
  ("rows.csv", b"image,caption\na.png,red\na.png\n", "rows.csv:3: 1 fields, expected the 2 of line 1: 'a.png'"),
  ("rows.csv", b"image,caption\na.png,red,long\n", "rows.csv:2: 3 fields, expected the 2"),
  ("rows.csv", b'image,caption\na.png,"red\n', "rows.csv:.*: not CSV"),
  ("rows.csv", b"image,caption\na.png,caf\xe9\n", "rows.csv:2: not UTF-8 .byte 0xe9."),
  ("rows.jsonl", b'{"image": "a.png"}\n', r"rows.jsonl: no column caption \(found: image\)"),
  (
    "rows.jsonl",
    b'{"image": "a", "caption": "b"}\n\n{"image": "c"}\n',
    "rows.jsonl:3: no caption, expected image, cap",
  ),
  ("rows.jsonl", b'{"image": "a.png", "caption": 7}\n', "rows.jsonl:1: caption is 7, expected a text"),
  ("rows.jsonl", b'{"image": "a", "caption": "b", "split": ["c"]}\n', r"rows.jsonl:1: split is \['c'\], expected a te"),
  ("rows.jsonl", b"[1]\n", "rows.jsonl:1: a JSON list, expected an object"),
  ("rows.jsonl", b"\n{'image'}\n", "rows.jsonl:2: not JSON"),
  ("rows.jsonl", b"[" * 100_000, "rows.jsonl:1: not JSON"),
  ("rows.parquet", b"PAR1 and nothing", "rows.parquet: not readable as Parquet"),
  ("rows.tsv", b"image\tcaption\n", "rows.tsv: expected a file that ends in one of .csv, .jsonl, .parquet"),
]


@pytest.mark.parametrize("name, content, message", BAD, ids=range(len(BAD)))
def test_bad_files_are_refused_with_their_place(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(InputError, match=message):
    list(read_rows(tmp_path / name, COLUMNS))


ODD_COLUMNS = {
  "a date too far": lambda pyarrow: pyarrow.array([10**8], pyarrow.date32()),
  "a time too far": lambda pyarrow: pyarrow.array([10**15], pyarrow.timestamp("ms")),
  "an unknown zone": lambda pyarrow: pyarrow.array([0], pyarrow.timestamp("us", "Mars/Olympus")),
  "not UTF-8": lambda pyarrow: pyarrow.StringArray.from_buffers(
    1, pyarrow.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0])), pyarrow.py_buffer(b"\xff")
  ),
}


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_a_value_of_parquet_that_python_has_not_is_named_by_its_column(tmp_path, kind):
  parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
  odd = ODD_COLUMNS[kind](pyarrow)
  parquet.write_table(pyarrow.table({"image": ["a"], "caption": ["red"], "odd": odd}), tmp_path / "rows.parquet")
  with pytest.raises(InputError, match="rows.parquet: the column 'odd' has a value that cannot be used"):
    list(read_rows(tmp_path / "rows.parquet", COLUMNS))


def test_a_number_in_a_parquet_file_is_named_with_its_row(tmp_path):
  write_parquet(tmp_path / "rows.parquet", [{"image": 1, "caption": "red"}])
  with pytest.raises(InputError, match="rows.parquet: row 1: image is 1, expected a text"):
    list(read_rows(tmp_path / "rows.parquet", COLUMNS))


def test_a_file_that_is_not_there_is_named(tmp_path):
  for name in ("none.csv", "none.jsonl", "none.parquet"):
    with pytest.raises(InputError, match=name):
      list(read_rows(tmp_path / name, COLUMNS))


def test_columns_that_are_not_read_are_said(tmp_path, capsys):
  (tmp_path / "rows.csv").write_text("image,price,caption\na.png,3,red\n")
  (row,) = read_rows(tmp_path / "rows.csv", COLUMNS)
  assert row.fields == {"image": "a.png", "caption": "red", "split": ""}
  assert "columns that are not used: price" in capsys.readouterr().err


PARTS = ["image", "caption", "split", ",", "\n", "\r", '"', " ", "a.png", "\0", "é", "{", "}", "[", "7", "null", ": "]
ROW = st.dictionaries(st.sampled_from(["image", "caption", "split", "x"]), st.text() | st.integers() | st.none())
CONTENT = st.one_of(
  st.binary(),
  st.lists(st.sampled_from(PARTS)).map("".join),
  st.lists(ROW, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows))),
  st.lists(st.sampled_from(PARTS)).map(lambda parts: "image,caption\n" + "".join(parts)),
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["csv", "jsonl", "parquet"]), CONTENT)
@example("csv", "image,caption\n" + "a" * 200_000 + ",b")
def test_no_file_ends_in_another_error_than_ours(tmp_path, kind, content):
  """It is read as texts, or refused with its name."""
  path = tmp_path / f"rows.{kind}"
  path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
  try:
    rows = list(read_rows(path, COLUMNS))
  except InputError as error:
    assert str(path) in str(error)
  else:
    assert all(isinstance(value, str) for row in rows for value in row.fields.values())


def test_rows_are_read_one_by_one(tmp_path):
  """Of many rows no more is in memory than some of them."""
  path = tmp_path / "rows.jsonl"
  path.write_text("".join(json.dumps({"image": f"{i}.png", "caption": "red" * 100}) + "\n" for i in range(5_000)))
  tracemalloc.start()
  assert sum(1 for _ in read_rows(path, COLUMNS)) == 5_000
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < path.stat().st_size / 4
