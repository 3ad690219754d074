"""Tokenizers of CLIP's and SigLIP's text towers, as their repositories have them."""

import pathlib
import string
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, Regex

from data_pipelines.input_error import InputError
from data_pipelines.texts.wordpieces import open_tokenizer, WordPieces
from data_pipelines.untrusted_json import read_json_object

OPTIONS = "tokenizer_config.json"


TOKENIZER_FILES = ("tokenizer.json", OPTIONS, "special_tokens_map.json", "vocab.json", "merges.txt")


START, END = "<|startoftext|>", "<|endoftext|>"  # CLIP's


# Words, digits, and runs of anything else, as CLIP splits them; the ends of English words apart.
CLIP_PARTS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def tower_pieces(folder: pathlib.Path, max_length: int, *, padded: bool) -> WordPieces:
  """The tokenizer of a tower's folder; with `padded` it brings each text to `max_length` ids by its own padding token.

  Reads tokenizer.json or CLIP's vocab.json and merges.txt. What tokenizer_config.json says is done to a text before is
  done: SiglipTokenizer lower-cases and deletes ASCII punctuation, Siglip2Tokenizer lower-cases. Raises InputError when
  there is no tokenizer, a broken one, or no padding token.
  """
  options = read_json_object(folder / OPTIONS) if (folder / OPTIONS).is_file() else {}
  tokenizer = _open(folder)
  steps = _normalisation(options) + ([tokenizer.normalizer] if tokenizer.normalizer else [])
  if steps:
    tokenizer.normalizer = normalizers.Sequence(steps)
  if padded:
    token, number = _padding(folder, tokenizer, options)
    tokenizer.enable_padding(length=max_length, pad_id=number, pad_token=token)
  else:
    tokenizer.no_padding()
  tokenizer.enable_truncation(max_length)
  return WordPieces(tokenizer, max_length)


def _open(folder: pathlib.Path) -> tokenizers.Tokenizer:
  if (folder / "tokenizer.json").is_file():
    return open_tokenizer(folder / "tokenizer.json")
  if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
    return clip_tokenizer(folder)
  present = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
  raise InputError(
    f"{folder} has no tokenizer that can be read: expected tokenizer.json, or CLIP's vocab.json and merges.txt; it has "
    f"{present} (of a spiece.model, transformers' convert_slow_tokenizer makes a tokenizer.json)"
  )


def clip_tokenizer(folder: pathlib.Path) -> tokenizers.Tokenizer:
  """CLIP's byte-level byte-pair encoding from vocab.json and merges.txt: lower case, between START and END."""
  try:
    pairs = models.BPE.from_file(
      str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>", unk_token=END
    )
    tokenizer = tokenizers.Tokenizer(pairs)
    tokenizer.normalizer = normalizers.Sequence(
      [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(CLIP_PARTS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    ids = tokenizer.get_vocab()
    end, start = ((token, ids[token]) for token in (END, START))
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    tokenizer.add_special_tokens([START, END])
  except Exception as error:  # the library raises nothing more special
    raise InputError(f"{folder / 'vocab.json'} and merges.txt cannot be read as CLIP's tokenizer: {error}") from error
  return tokenizer


def _normalisation(options: dict[str, Any]) -> list[normalizers.Normalizer]:
  """What the tokenizer's class does to a text beside what tokenizer.json says; doing it twice changes nothing."""
  name = options.get("tokenizer_class")
  steps: list[normalizers.Normalizer] = []
  if options.get("do_lower_case", name in ("SiglipTokenizer", "Siglip2Tokenizer")):
    steps.append(normalizers.Lowercase())
  if name == "SiglipTokenizer":
    punctuation = "".join(f"\\{mark}" for mark in string.punctuation)
    steps += [normalizers.Replace(Regex(f"[{punctuation}]"), ""), normalizers.Replace(Regex(r"\s+"), " ")]
    steps.append(normalizers.Strip())
  return steps


def _padding(folder: pathlib.Path, tokenizer: tokenizers.Tokenizer, options: dict[str, Any]) -> tuple[str, int]:
  """The padding token and its id: that of tokenizer_config.json, or else what tokenizer.json pads with."""
  token = options.get("pad_token") or (tokenizer.padding or {}).get("pad_token")
  token = token["content"] if isinstance(token, dict) else token
  number = tokenizer.token_to_id(token) if isinstance(token, str) else None
  if not isinstance(token, str) or number is None:
    raise InputError(f"{folder / OPTIONS} has pad_token {token!r}, expected a token of the tokenizer")
  return token, number
