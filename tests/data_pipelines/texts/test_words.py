"""How texts are split: the published way, and one that loses no script."""

import pytest
import tokenizers
from tokenizers.models import Unigram

from composeret_jax.pretrained.hub.tokenizer import read_pieces
from composeret_jax.serving.bundle.inputs import read_tokens, TokenBatches
from composeret_jax.training.config.same_run import config_from_json
from configs import catalogue, fashion_iq, mit_states, shapes
from data_pipelines.datasets.catalogue.rows import read_triplets
from data_pipelines.datasets.shapes import all_changes
from data_pipelines.input_error import InputError
from data_pipelines.texts.vocabulary import PADDING, Vocabulary
from data_pipelines.texts.wordpieces import WordPieces
from data_pipelines.texts.words import ascii_words, unicode_words
from tests.fakes import tiny_bert, tiny_tower


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("Replace RED, with größer!", ["replace", "red", "with", "grösser"]),
    ("赤い シャツ", ["赤", "い", "シ", "ャ", "ツ"]),
    ("红色衬衫XL号", ["红", "色", "衬", "衫", "xl", "号"]),
    ("สีน้ำเงิน", ["สี", "น้", "ำ", "เ", "งิ", "น"]),
    ("cafe\u0301 CAFÉ", ["café", "café"]),
    ("हिन्दी क़मीज़", ["हिन्दी", "क़मीज़"]),
    ("красная рубашка-поло 42", ["красная", "рубашка", "поло", "42"]),
    ("!? \ud800 \u2014 👕", []),
  ],
)
def test_unicode_words(text, words):
  assert unicode_words(text) == words


def test_ascii_texts_are_split_as_all_others():
  for sign in map(chr, range(128)):
    text = f"Ab{sign}c 1{sign}"
    assert unicode_words(text) == unicode_words(f"{text} \N{LATIN SMALL LETTER E WITH ACUTE}")[:-1]


def test_the_published_way_loses_what_is_not_ascii():
  assert ascii_words("größer, don't") == ["grer", "dont"]
  assert ascii_words("赤い シャツ") == []


def test_catalogues_and_shapes_are_split_by_unicode_and_published_data_as_published():
  of = {
    module.__name__: module.get_config().model.text_encoder.words
    for module in (catalogue, shapes, fashion_iq, mit_states)
  }
  assert of == {
    "configs.catalogue": "unicode",
    "configs.shapes": "unicode",
    "configs.fashion_iq": "ascii",
    "configs.mit_states": "ascii",
  }


@pytest.mark.slow  # draws all shapes
def test_the_embedded_datas_texts_are_split_alike_by_both():
  texts = [text for changes in all_changes().values() for _, text, _ in changes]
  assert list(map(ascii_words, texts)) == list(map(unicode_words, texts))


def test_a_configuration_from_before_means_ascii():
  assert config_from_json({"model": {"text_encoder": {"name": "lstm"}}}).model.text_encoder.words == "ascii"


def test_a_bundle_splits_as_its_model_was_trained_and_one_from_before_by_ascii(tmp_path):
  (tmp_path / "vocabulary.json").write_text('["赤", "red"]')
  text = {"kind": "words", "max_length": 16}
  assert read_tokens(tmp_path, text | {"splitter": "unicode"})(["赤い red"])[0, :3].tolist() == [1, 0, 2]
  assert read_tokens(tmp_path, text)(["赤い red"])[0, :2].tolist() == [2, -1]
  with pytest.raises(InputError, match="splits texts by 'other', this program by ascii or unicode"):
    read_tokens(tmp_path, text | {"splitter": "other"})


def test_unknown_words_are_named_and_a_text_of_nothing_else_is_refused():
  tokens = TokenBatches(Vocabulary(("red", "shirt"), "unicode"), max_length=16)
  assert tokens.unknown("a Red GRÖSSER größer") == ["a", "grösser"]
  assert tokens(["a red"])[0, :2].tolist() == [0, 1]
  with pytest.raises(InputError, match="no word of 'blue größer' is known to the model: blue, grösser"):
    tokens(["red", "blue größer"])


@pytest.mark.parametrize("text", ["赤い シャツ", "!!!", "👕", "größ"])
def test_a_text_that_has_no_words_left_is_refused_and_a_blank_one_is_none(text):
  tokens = TokenBatches(Vocabulary(("red",)), max_length=16)
  with pytest.raises(InputError, match=f"no word of '{text}' is known to the model"):
    tokens(["red", text])
  assert (tokens(["", " "]) == PADDING).all()


@pytest.mark.parametrize("kind", ["vocab.txt", "unigram", "clip"])
def test_a_tokenizers_unknown_words_are_named_too(kind, tmp_path):
  pieces = {"vocab.txt": bert_pieces, "unigram": unigram_pieces, "clip": clip_pieces}[kind](tmp_path)
  tokens = TokenBatches(pieces, max_length=12)
  if kind == "clip":  # it writes any text, letter by letter
    assert tokens.unknown("dark 赤い cat") == []
    assert tokens(["赤い"]).shape == (1, 8)
  else:
    assert tokens.unknown("dark 赤 cat 赤 猫") == ["赤", "猫"]
    assert tokens(["dark 赤"]).shape == (1, 8)
    with pytest.raises(InputError, match="no word of '赤 猫' is known to the model: 赤, 猫"):
      tokens(["dark cat", "赤 猫"])
  assert tokens([""]).shape[0] == 1


def bert_pieces(folder):
  return read_pieces(tiny_bert.make(folder), "bert", 12)


def clip_pieces(folder):
  return read_pieces(tiny_tower.make(folder), "clip", 12)


def unigram_pieces(folder):
  tokenizer = tokenizers.Tokenizer(Unigram([("<pad>", 0.0), ("<unk>", 0.0), ("▁dark", -1.0), ("▁cat", -1.0)], unk_id=1))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
  return WordPieces(tokenizer, 12)


def test_rows_of_a_catalogue_without_words_are_counted_and_named(tmp_path):
  file = tmp_path / "rows.csv"
  file.write_text("reference,text,target\na.jpg,赤い,b.jpg\na.jpg,!!!,b.jpg\na.jpg,👕,b.jpg\n", encoding="utf-8")
  with pytest.raises(InputError, match=r"2 rows have a text without a letter or a digit: .*csv:3: .!!!.; .*csv:4"):
    read_triplets(str(file))
