"""Tokenizers of BERTs and towers, from whatever files their folders have, as one tokenizer.json would describe them."""

import pathlib
import string
from typing import Any

import tokenizers
from tokenizers import normalizers, processors, Regex

from composeret_jax.pretrained.hub.quiet_transformers import FROM_FILES, transformers
from data_pipelines.input_error import InputError
from data_pipelines.texts.tokenizer_limits import check_parts
from data_pipelines.texts.wordpieces import open_tokenizer, WordPieces
from data_pipelines.untrusted_json import read_json_object

OPTIONS, WHOLE, SENTENCEPIECE = "tokenizer_config.json", "tokenizer.json", "spiece.model"

# A tokenizer.json suffices; the others stand in for it.
BERT_FILES = (WHOLE, OPTIONS, "vocab.txt")
TOWER_FILES = (WHOLE, OPTIONS, "special_tokens_map.json", "vocab.json", "merges.txt", SENTENCEPIECE)

VOCABULARIES = (WHOLE, "vocab.json", "vocab.txt", SENTENCEPIECE)
SIGLIP = "SiglipTokenizer"


def read_pieces(folder: pathlib.Path, model_type: str, max_length: int, *, padded: bool = False) -> WordPieces:
  """The tokenizer of a model's folder; with `padded` it brings each text to `max_length` ids by its padding token.

  `model_type` ("clip", "siglip", "siglip2", "bert") tells the kind where tokenizer_config.json names no class. Raises
  InputError when there is no tokenizer, a broken one, or no padding token.
  """
  if not any((folder / name).is_file() for name in VOCABULARIES):
    present = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise InputError(f"{folder} has no tokenizer: expected one of {', '.join(VOCABULARIES)}; it has {present}")
  options = read_json_object(folder / OPTIONS) if (folder / OPTIONS).is_file() else {}
  named = str(options.get("tokenizer_class") or "").removesuffix("Fast")
  if (folder / WHOLE).is_file():
    check_parts(folder / WHOLE)
  # SiglipTokenizer of the library reads no tokenizer.json, and what no class is named for is that file alone.
  if (folder / WHOLE).is_file() and (named == SIGLIP or not named and model_type != "siglip2"):
    tokenizer, padding = open_tokenizer(folder / WHOLE), _padding_of(options)
    padding["pad_token"] = padding["pad_token"] or (tokenizer.padding or {}).get("pad_token")
  else:
    loaded = _load(folder, None if named else model_type)
    named = type(loaded).__name__
    tokenizer = _converted(loaded)
    _check_ends(folder, tokenizer)
    padding = {"pad_token": loaded.pad_token, "direction": loaded.padding_side}
  _normalise(tokenizer, options, named)
  if padded:
    number = tokenizer.token_to_id(padding["pad_token"]) if isinstance(padding["pad_token"], str) else None
    if number is None:
      raise InputError(f"{folder / OPTIONS} has pad_token {padding['pad_token']!r}, expected a token of the tokenizer")
    tokenizer.enable_padding(length=max_length, pad_id=number, **padding)
  else:
    tokenizer.no_padding()
  tokenizer.enable_truncation(max_length)
  return WordPieces(tokenizer, max_length)


def _padding_of(options: dict[str, Any]) -> dict[str, Any]:
  token = options.get("pad_token")
  return {
    "pad_token": token["content"] if isinstance(token, dict) else token,
    "direction": options.get("padding_side", "right"),
  }


def _load(folder: pathlib.Path, model_type: str | None) -> Any:
  try:
    return transformers().AutoTokenizer.from_pretrained(folder, tokenizer_type=model_type, **FROM_FILES)
  except Exception as error:  # of many classes, the library's parts' among them
    reason = " ".join(str(error).split())[:300]
    raise InputError(f"the files in {folder} cannot be read as a tokenizer: {reason}") from error


def _converted(loaded: Any) -> tokenizers.Tokenizer:
  """A tokenizer of the library, but for what `_normalise` adds.

  SiglipTokenizer calls sentencepiece; a text's pieces equal the same model's in `tokenizers`, and its end.
  """
  if loaded.is_fast:
    return tokenizers.Tokenizer.from_str(loaded.backend_tokenizer.to_str())
  from transformers.convert_slow_tokenizer import SpmConverter

  tokenizer = SpmConverter(loaded).converted()
  end = loaded.eos_token, loaded.eos_token_id
  tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
  return tokenizer


def _check_ends(folder: pathlib.Path, tokenizer: tokenizers.Tokenizer) -> None:
  """Raises InputError where the vocabulary lacks what begins and ends a text: the library gives these a new id then."""
  own = tokenizer.get_vocab(with_added_tokens=False)
  lacking = [token for token in tokenizer.encode("").tokens if token not in own]
  if lacking:
    raise InputError(f"the files in {folder} cannot be read as a tokenizer: their vocabulary has no {lacking[0]}")


def _normalise(tokenizer: tokenizers.Tokenizer, options: dict[str, Any], named: str) -> None:
  """Puts first what the class does to a text before its pieces are found; doing it twice changes nothing."""
  steps: list[normalizers.Normalizer] = []
  if options.get("do_lower_case", named == SIGLIP):
    steps.append(normalizers.Lowercase())
  if named == SIGLIP:
    punctuation = "".join(f"\\{mark}" for mark in string.punctuation)
    steps += [normalizers.Replace(Regex(f"[{punctuation}]"), ""), normalizers.Replace(Regex(r"\s+"), " ")]
    steps.append(normalizers.Strip())
  if steps:
    own = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([*steps, *own])
