"""Word pieces and their ids, as BERT and the towers have them."""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import functools
import itertools
import json
import logging
import pathlib

import numpy as np
import tokenizers

from data_pipelines.input_error import InputError
from data_pipelines.texts.plain_signs import with_plain_signs
from data_pipelines.texts.tokenizer_limits import check_lengths, check_parts
from data_pipelines.texts.vocabulary import padded

BLOCK = 4_096


@dataclasses.dataclass(frozen=True)
class WordPieces:
  """Texts to the ids of their word pieces, those that begin and end a text included; at most `max_length` are kept.

  With `plain_signs` a text is read as `with_plain_signs` of it.
  """

  tokenizer: tokenizers.Tokenizer
  max_length: int
  plain_signs: bool = False

  @classmethod
  def from_file(cls, file: pathlib.Path, max_length: int, *, plain_signs: bool = False) -> "WordPieces":
    """The tokenizer that one of ours was saved as; raises InputError when it is broken, or pads beyond `max_length`."""
    tokenizer = open_tokenizer(file)
    check_lengths(tokenizer, max_length, file)
    return cls(tokenizer, max_length, plain_signs)

  @property
  def size(self) -> int:
    """One more than the largest id."""
    return 1 + max(self.tokenizer.get_vocab().values())

  def ids(self, texts: Iterable[str]) -> list[list[int]]:
    """The ids of each text's word pieces; raises InputError when the tokenizer fails on one."""
    return [encoding.ids for encoding in self._encodings(texts)]

  def unknown(self, text: str) -> list[str]:
    """The parts of a text that no piece stands for, each once; none for a tokenizer whose pieces write any text."""
    text = with_plain_signs(text) if self.plain_signs else text
    (encoding,) = self._encodings([text])
    found = zip(encoding.ids, encoding.offsets, strict=True)
    parts = [text[start:end].strip() for number, (start, end) in found if number == self._unknown_id]
    return list(dict.fromkeys(filter(None, parts)))

  def knows(self, text: str) -> bool:
    """Whether a piece stands for some of a text."""
    (encoding,) = self._encodings([text])
    ids = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
    return any(not special and number != self._unknown_id for number, special in ids)

  @functools.cached_property
  def _unknown_id(self) -> int | None:
    model = json.loads(self.tokenizer.to_str())["model"]
    if "unk_id" in model:
      return model["unk_id"]
    return self.tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None

  def are_cut(self, texts: Iterable[str]) -> list[bool]:
    """Whether a text has more pieces than are kept."""
    return [bool(encoding.overflowing) for encoding in self._encodings(texts)]

  def warn_of_cuts(self, texts: Sequence[str]) -> int:
    """Logs one warning that counts the texts of which something is cut off, if there are any.

    Returns the most ids in a text, of those that are kept.
    """
    longest = num_cut = 0
    for encoding in self._encodings(texts):
      longest = max(longest, len(encoding))
      num_cut += bool(encoding.overflowing)
    if num_cut:
      logging.getLogger(__name__).warning(
        "%d of %d texts have more than the %d word pieces that the text encoder takes; the rest of each is cut off",
        num_cut,
        len(texts),
        self.max_length,
      )
    return longest

  def encode(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
    """The ids of each text as int32 [num, length], padded with negative numbers; by default to the longest's.

    Raises ValueError when a text has more than `length` ids left.
    """
    return padded(self.ids(texts), length)

  def _encodings(self, texts: Iterable[str]) -> Iterator[tokenizers.Encoding]:
    """BLOCK at a time, as an encoding holds a hundred times its ids."""
    read = map(with_plain_signs, texts) if self.plain_signs else iter(texts)
    try:
      while block := list(itertools.islice(read, BLOCK)):
        yield from self.tokenizer.encode_batch(block)
    except (GeneratorExit, KeyboardInterrupt, SystemExit, MemoryError):
      raise
    except BaseException as error:  # the library is Rust, whose panics are no Exceptions
      raise InputError(f"the tokenizer cannot read the texts: {str(error)[:200]}") from error


def open_tokenizer(file: pathlib.Path) -> tokenizers.Tokenizer:
  """A tokenizer.json; raises InputError when it is broken, or asks for unbounded work."""
  check_parts(file)
  try:
    return tokenizers.Tokenizer.from_file(str(file))
  except Exception as error:  # the library raises nothing more special
    raise InputError(f"{file} cannot be read as a tokenizer: {error}") from error
