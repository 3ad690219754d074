import json
import pickle

import numpy as np
import pytest

from composeret_jax.pretrained.hub.tokenizer import read_pieces
from data_pipelines.input_error import InputError
from tests.fakes import tiny_bert

TEXTS = ["is Blacker", "long sleeves, and zebra", ""]


@pytest.fixture
def folder(tmp_path):
  return tiny_bert.make(tmp_path)


def test_ids_by_hand(folder):
  pieces = read_pieces(folder, "bert", 12)
  place = {word: i for i, word in enumerate(tiny_bert.SPECIAL + tiny_bert.WORDS)}
  words = [
    ["[CLS]", "is", "black", "##er", "[SEP]"],
    ["[CLS]", "long", "sleeve", "##s", ",", "and", "[UNK]", "[SEP]"],
    ["[CLS]", "[SEP]"],
  ]
  assert pieces.ids(TEXTS) == [[place[word] for word in row] for row in words]
  assert pieces.warn_of_cuts(TEXTS) == 8
  assert pieces.size == len(place)
  np.testing.assert_array_equal(pieces.encode(["is"], 5), [[2, place["is"], 3, -1, -1]])


@pytest.mark.parametrize("lower_case", [True, False])
def test_ids_equal_transformers(folder, lower_case):
  transformers = pytest.importorskip("transformers", reason="the reference is its BertTokenizer")
  (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
  reference = transformers.BertTokenizer.from_pretrained(folder)
  from_vocabulary = read_pieces(folder, "bert", 12).ids(TEXTS)
  assert from_vocabulary == reference(TEXTS)["input_ids"]
  reference.save_pretrained(folder)
  (folder / "vocab.txt").unlink()
  assert read_pieces(folder, "bert", 12).ids(TEXTS) == from_vocabulary


def test_a_tokenizers_own_padding_and_length_do_not_count(folder):
  tokenizer = read_pieces(folder, "bert", 12).tokenizer
  tokenizer.enable_padding(length=9)
  tokenizer.enable_truncation(3)
  tokenizer.save(str(folder / "tokenizer.json"))
  assert [len(ids) for ids in read_pieces(folder, "bert", 12).ids(TEXTS)] == [5, 8, 2]


def test_long_texts_are_cut_with_one_warning_that_counts_them(folder, caplog):
  pieces = read_pieces(folder, "bert", 6)
  texts = ["long " * 4, "long " * 5, "long " * 600, "is"]
  pieces.warn_of_cuts(texts)
  (warning,) = caplog.messages
  assert warning.startswith("2 of 4 texts have more than the 6 word pieces")
  assert [len(ids) for ids in pieces.ids(texts)] == [6, 6, 6, 3]
  assert {ids[-1] for ids in pieces.ids(texts)} == {3}  # [SEP] stays
  pieces.warn_of_cuts(["is", "long"])
  assert len(caplog.messages) == 1


def test_a_longer_text_than_expected_is_an_error(folder):
  with pytest.raises(ValueError, match="at most 4 expected"):
    read_pieces(folder, "bert", 12).encode(TEXTS, 4)


def test_it_can_be_sent_to_another_process(folder):
  pieces = read_pieces(folder, "bert", 6)
  sent = pickle.loads(pickle.dumps(pieces))
  assert sent.ids(["long " * 30, *TEXTS]) == pieces.ids(["long " * 30, *TEXTS])


def test_a_missing_and_a_broken_tokenizer_are_named(folder):
  (folder / "tokenizer.json").write_text("{}")
  with pytest.raises(InputError, match=r"tokenizer\.json cannot be read as a tokenizer"):
    read_pieces(folder, "bert", 12)
  (folder / "tokenizer.json").unlink()
  (folder / "vocab.txt").write_text("only\nwords\n")
  with pytest.raises(InputError, match=r"cannot be read as a tokenizer: their vocabulary has no \[CLS\]"):
    read_pieces(folder, "bert", 12)
  (folder / "vocab.txt").unlink()
  with pytest.raises(InputError, match=r"has no tokenizer: expected one of tokenizer\.json, .*vocab\.txt"):
    read_pieces(folder, "bert", 12)
