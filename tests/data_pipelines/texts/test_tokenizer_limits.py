"""Tokenizers that somebody wrote to do harm are refused when they are opened."""

import json

import pytest
import tokenizers
from tokenizers import normalizers, pre_tokenizers, processors, Regex

from composeret_jax.pretrained.hub.tokenizer import read_pieces
from data_pipelines.input_error import InputError
from data_pipelines.texts.wordpieces import WordPieces
from tests.fakes import tiny_bert

MAX_LENGTH = 12

PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
TRUNCATION = {"direction": "Right", "max_length": MAX_LENGTH, "strategy": "LongestFirst", "stride": 0}

# Of published tokenizers.
HARMLESS = (
  r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""",
  r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}|[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)",
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\s+",
  r"\(a+\)+[(b+)]+",
)


@pytest.fixture
def saved(tmp_path):
  """The description of a tokenizer as a bundle has it, to be changed."""
  pieces = read_pieces(tiny_bert.make(tmp_path / "bert"), "bert", MAX_LENGTH)
  return pieces.tokenizer


def opened(tokenizer, folder, **fields):
  file = folder / "tokenizer.json"
  file.write_text(json.dumps(json.loads(tokenizer.to_str()) | fields))
  return WordPieces.from_file(file, MAX_LENGTH)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (
      {"padding": PADDING | {"strategy": {"Fixed": 8589934592}}},
      "padding with length 8,589,934,592, expected at most 12",
    ),
    ({"padding": PADDING | {"strategy": "BatchLongest", "pad_to_multiple_of": 2**40}}, "pad_to_multiple_of"),
    ({"truncation": TRUNCATION | {"stride": MAX_LENGTH}}, "expected a stride of 0"),
    ({"truncation": TRUNCATION | {"max_length": 10**9}}, "expected a stride of 0 and at most 12 ids"),
  ],
)
def test_lengths_have_bounds(saved, tmp_path, fields, message):
  with pytest.raises(InputError, match=message):
    opened(saved, tmp_path, **fields)


@pytest.mark.parametrize("pattern", ["(a+)+$", "((?:a|b)*c*)*", r"(\p{L}+ ?){2,}x", "(?:(a*)b?)+"])
@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_regex_of_exponential_time_is_refused(saved, tmp_path, pattern, part):
  if part == "normalizer":
    saved.normalizer = normalizers.Replace(Regex(pattern), "")
  else:
    saved.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
  with pytest.raises(InputError, match="has the regex"):
    opened(saved, tmp_path)


@pytest.mark.parametrize("pattern", HARMLESS)
def test_published_regexes_are_not_refused(saved, tmp_path, pattern):
  saved.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
  assert len(opened(saved, tmp_path).ids(["is long"])) == 1


def test_a_text_does_not_grow_without_bounds(saved, tmp_path):
  saved.normalizer = normalizers.Sequence([normalizers.Replace("a", "aa")] * 40)
  with pytest.raises(InputError, match=r"makes a text up to 1.1e\+12 times as long"):
    opened(saved, tmp_path)
  saved.normalizer = normalizers.Lowercase()
  saved.post_processor = processors.TemplateProcessing(single="[CLS] " * 100 + "$A", special_tokens=[("[CLS]", 2)])
  with pytest.raises(InputError, match="more than 64 pieces around a text"):
    opened(saved, tmp_path)


def test_a_panic_of_the_library_is_an_error_like_others(saved, capfd):
  saved.pre_tokenizer = pre_tokenizers.Split(Regex("(a|a)+$"), "isolated")
  pieces = WordPieces(tokenizers.Tokenizer.from_str(saved.to_str()), MAX_LENGTH)
  with pytest.raises(InputError, match="the tokenizer cannot read the texts"):
    pieces.ids(["a" * 500 + "!"])
