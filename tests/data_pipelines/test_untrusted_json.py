import pytest

from data_pipelines.input_error import InputError
from data_pipelines.untrusted_json import is_count, is_texts, parse_json, read_json


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "Expecting value"),
    (b"{", "Expecting property name"),
    (b"\xff\xfe\xfa", "decode"),
    (b"[" * 200_000, "nested too deep"),
    (b'{"a":' * 200_000, "nested too deep"),
    (b"9" * 10_000, "Exceeds the limit"),
    (b"NaN", "NaN is no number"),
    (b"[-Infinity]", "-Infinity is no number"),
    (b"1e999", "a number is infinite"),
  ],
)
def test_what_is_no_json_of_ours_is_said_in_few_words(content, message, tmp_path):
  (tmp_path / "a.json").write_bytes(content)
  with pytest.raises(InputError, match=message) as caught:
    read_json(tmp_path / "a.json")
  assert str(tmp_path / "a.json") in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_that_is_too_long_is_not_read(tmp_path):
  with (tmp_path / "a.json").open("wb") as file:
    file.truncate(10**12)  # takes no room on the disk
  with pytest.raises(InputError, match="has 1,000,000,000,000 bytes, expected at most 64,000,000"):
    read_json(tmp_path / "a.json")


def test_other_json_is_what_it_is():
  assert parse_json(b'{"a": [1, 2.5, "x", null, true]}') == {"a": [1, 2.5, "x", None, True]}


def test_names_that_are_there_twice_show_as_pairs():
  assert parse_json('{"a": 1, "a": {"b": []}}', as_pairs=True) == [("a", 1), ("a", [("b", [])])]
  with pytest.raises(ValueError, match="nested too deep"):
    parse_json('{"a":' * 200_000, as_pairs=True)


def test_counts_are_whole_numbers_in_a_range():
  assert [value for value in (0, 3, 4, True, 1.0, "1", None, -1) if is_count(value, 0, 3)] == [0, 3]


def test_texts_are_lists_of_strings():
  assert [is_texts(value) for value in ([], ["a"], ["a", 1], "a", None)] == [True, True, False, False, False]
