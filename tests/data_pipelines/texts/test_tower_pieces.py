"""Tokenizers of text towers: files that they are read from, what is done to a text, padding."""

import json

import pytest

from data_pipelines.input_error import InputError
from data_pipelines.texts.tower_pieces import tower_pieces
from tests.fakes import tiny_tower

LENGTH = tiny_tower.MAX_LENGTH
START, END = len(tiny_tower.CLIP_TOKENS) - 2, len(tiny_tower.CLIP_TOKENS) - 1


def words(*names):
  return [tiny_tower.WORDS.index(name) + 2 for name in names]


def test_clip_reads_vocabulary_and_merges(tmp_path):
  pieces = tower_pieces(tiny_tower.make(tmp_path), LENGTH, padded=False)
  token = tiny_tower.CLIP_TOKENS.index
  dark, box = token("dark</w>"), token("box</w>")
  assert pieces.ids(["DARK  box,", ""]) == [[START, dark, box, token(",</w>"), END], [START, END]]
  # A number is one digit after the other, and the end of a cut text stays.
  assert pieces.ids(["12"]) == [[START, token("1</w>"), token("2</w>"), END]]
  assert pieces.ids(["dark " * 20]) == [[START, *[dark] * (LENGTH - 2), END]]


def test_a_saved_tokenizer_json_is_the_same(tmp_path):
  pieces = tower_pieces(tiny_tower.make(tmp_path), LENGTH, padded=False)
  pieces.tokenizer.save(str(tmp_path / "tokenizer.json"))
  texts = ["Is black's", "long\tsleeves", "light " * 30]
  assert tower_pieces(tmp_path, LENGTH, padded=False).ids(texts) == pieces.ids(texts)


def test_siglip_lower_cases_deletes_punctuation_and_pads(tmp_path):
  pieces = tower_pieces(tiny_tower.make(tmp_path, "siglip"), LENGTH, padded=True)
  end = 1
  expected = words("is", "black", "and", "long") + [end] * (LENGTH - 4)
  assert pieces.ids(["  Is, BLACK (and) \n long!"]) == [expected]
  assert pieces.ids(["is " * 20]) == [words(*["is"] * (LENGTH - 1)) + [end]]


@pytest.mark.parametrize(("options", "lowers"), [({"do_lower_case": True}, True), ({}, False)])
def test_a_gemma_tokenizer_lower_cases_where_its_options_say_so(tmp_path, options, lowers):
  folder = tiny_tower.make(tmp_path, "siglip")
  fields = {"tokenizer_class": "GemmaTokenizer", "pad_token": {"content": "<unk>"}} | options
  (folder / "tokenizer_config.json").write_text(json.dumps(fields))
  (ids,) = tower_pieces(folder, LENGTH, padded=True).ids(["LONG"])
  assert ids == [words("long")[0] if lowers else 0, 1] + [0] * (LENGTH - 2)


def test_what_is_missing_is_named(tmp_path):
  folder = tiny_tower.make(tmp_path, "siglip")
  (folder / "tokenizer_config.json").write_text("{}")
  with pytest.raises(InputError, match="has pad_token None, expected a token of the tokenizer"):
    tower_pieces(folder, LENGTH, padded=True)
  (folder / "tokenizer.json").rename(folder / "spiece.model")
  with pytest.raises(InputError, match=r"expected tokenizer\.json, or .* it has .*spiece\.model"):
    tower_pieces(folder, LENGTH, padded=True)
