"""Tokenizers of BERTs and towers: the files that they are read from, what is done to a text, padding."""

import json

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors
import transformers

from composeret_jax.pretrained.hub.tokenizer import read_pieces
from data_pipelines.input_error import InputError
from data_pipelines.texts.wordpieces import WordPieces
from tests.fakes import tiny_tower

LENGTH = tiny_tower.MAX_LENGTH
START, END = len(tiny_tower.CLIP_TOKENS) - 2, len(tiny_tower.CLIP_TOKENS) - 1
TEXTS = ["Dark  BOX!", "is long\nand (black)", "naïve 42", "▁dark▁box…", "ＤＡＲＫ ½", "", "!!!", "long " * 30]


def words(*names):
  return [tiny_tower.WORDS.index(name) + 2 for name in names]


def test_clip_reads_vocabulary_and_merges(tmp_path):
  pieces = read_pieces(tiny_tower.make(tmp_path), "clip", LENGTH)
  token = tiny_tower.CLIP_TOKENS.index
  dark, box = token("dark</w>"), token("box</w>")
  assert pieces.ids(["DARK  box,", ""]) == [[START, dark, box, token(",</w>"), END], [START, END]]
  # A number is one digit after the other, and the end of a cut text stays.
  assert pieces.ids(["12"]) == [[START, token("1</w>"), token("2</w>"), END]]
  assert pieces.ids(["dark " * 20]) == [[START, *[dark] * (LENGTH - 2), END]]


def test_a_saved_tokenizer_json_is_the_same(tmp_path):
  pieces = read_pieces(tiny_tower.make(tmp_path), "clip", LENGTH)
  pieces.tokenizer.save(str(tmp_path / "tokenizer.json"))
  texts = ["Is black's", "long\tsleeves", "light " * 30]
  assert read_pieces(tmp_path, "clip", LENGTH).ids(texts) == pieces.ids(texts)


def test_siglip_lower_cases_deletes_punctuation_and_pads(tmp_path):
  pieces = read_pieces(tiny_tower.make(tmp_path, "siglip"), "siglip", LENGTH, padded=True)
  end = 1
  expected = words("is", "black", "and", "long") + [end] * (LENGTH - 4)
  assert pieces.ids(["  Is, BLACK (and) \n long!"]) == [expected]
  assert pieces.ids(["is " * 20]) == [words(*["is"] * (LENGTH - 1)) + [end]]


def by_transformers(folder):
  loaded = transformers.AutoTokenizer.from_pretrained(folder)
  return loaded(TEXTS, padding="max_length", truncation=True, max_length=LENGTH)["input_ids"]


@pytest.mark.parametrize(
  ("tokenizer_class", "options"),
  [
    ("SiglipTokenizer", {"pad_token": "</s>"}),
    ("SiglipTokenizer", {"pad_token": "</s>", "do_lower_case": False}),
    ("T5Tokenizer", {"extra_ids": 0}),
  ],
)
def test_a_sentencepiece_model_alone_gives_the_ids_of_transformers(tmp_path, tokenizer_class, options):
  folder = tiny_tower.make(tmp_path / "tower", "siglip")
  tiny_tower.write_sentencepiece(folder, tokenizer_class, **options)
  pieces = read_pieces(folder, "siglip", LENGTH, padded=True)
  assert pieces.ids(TEXTS) == by_transformers(folder)
  assert len({tuple(ids) for ids in pieces.ids(TEXTS)}) == (len(TEXTS) - 1 if options.get("pad_token") else len(TEXTS))
  # A bundle has the same as a tokenizer.json.
  pieces.tokenizer.save(str(tmp_path / "tokenizer.json"))
  assert WordPieces.from_file(tmp_path / "tokenizer.json", LENGTH).ids(TEXTS) == pieces.ids(TEXTS)


def write_gemma(folder, **options):
  """A byte-level-free BPE as SigLIP 2 has it, whose words are lower-case."""
  numbers = {token: number for number, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "▁", *"longLONG"])}
  tokenizer = tokenizers.Tokenizer(models.BPE(numbers, [], unk_token="<unk>", fuse_unk=True))
  tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "▁")
  tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
  tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
  tokenizer.save(str(folder / "tokenizer.json"))
  fields = {"pad_token": "<pad>", "add_bos_token": False, "add_eos_token": True, "padding_side": "right"} | options
  (folder / "tokenizer_config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
  ("kind", "options", "lowers"),
  [
    ("siglip", {"tokenizer_class": "GemmaTokenizerFast", "do_lower_case": True}, True),
    ("siglip", {"tokenizer_class": "GemmaTokenizer"}, False),
    ("siglip2", {"tokenizer_class": "GemmaTokenizerFast"}, True),
    ("siglip2", {"tokenizer_class": "Siglip2Tokenizer"}, True),
    ("siglip2", {}, True),
  ],
)
def test_siglip_2_lower_cases_by_its_class_or_its_options(tmp_path, kind, options, lowers):
  folder = tiny_tower.make(tmp_path, "siglip")
  config = json.loads((folder / "config.json").read_text()) | {"model_type": kind}
  (folder / "config.json").write_text(json.dumps(config))
  write_gemma(folder, **options)
  (ids,) = read_pieces(folder, kind, LENGTH, padded=True).ids(["LONG lo"])
  letters = [*(range(5, 9) if lowers else range(9, 13)), 4, 5, 6]
  assert ids == [*letters, 1] + [0] * (LENGTH - 8)


def test_what_is_missing_is_named(tmp_path):
  folder = tiny_tower.make(tmp_path, "siglip")
  (folder / "tokenizer_config.json").write_text("{}")
  with pytest.raises(InputError, match="has pad_token None, expected a token of the tokenizer"):
    read_pieces(folder, "siglip", LENGTH, padded=True)
  (folder / "tokenizer.json").rename(folder / "tokenizer.old")
  with pytest.raises(InputError, match=r"expected one of tokenizer\.json, .*spiece\.model; it has .*tokenizer\.old"):
    read_pieces(folder, "siglip", LENGTH, padded=True)


def test_broken_files_are_named(tmp_path):
  folder = tiny_tower.make(tmp_path)
  (folder / "vocab.json").write_text("[")
  with pytest.raises(InputError, match="the files in .* cannot be read as a tokenizer"):
    read_pieces(folder, "clip", LENGTH)
  folder = tiny_tower.make(tmp_path / "siglip", "siglip")
  tiny_tower.write_sentencepiece(folder)
  (folder / "spiece.model").write_bytes(b"no model")
  with pytest.raises(InputError, match="the files in .* cannot be read as a tokenizer"):
    read_pieces(folder, "siglip", LENGTH)


def test_no_code_of_a_folder_runs(tmp_path):
  folder = tiny_tower.make(tmp_path)
  (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
  auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
  (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Evil", "auto_map": auto_map}))
  with pytest.raises(InputError, match="cannot be read as a tokenizer"):
    read_pieces(folder, "clip", LENGTH)
  assert not (tmp_path / "ran").exists()
