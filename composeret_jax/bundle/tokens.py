"""Texts to the numbers that a bundle's programs take."""

from collections.abc import Mapping, Sequence
import dataclasses
import logging
import pathlib
from typing import Any

import numpy as np

from composeret_jax.bundle.layout import TEXT_FILES, WORD_PIECES, WORDS
from data_pipelines.input_error import InputError
from data_pipelines.texts.vocabulary import PADDING, Vocabulary
from data_pipelines.texts.wordpieces import WordPieces
from data_pipelines.untrusted_json import is_texts, read_json

SHORTEST = 8


@dataclasses.dataclass(frozen=True)
class TokenBatches:
  """Any texts to ids, padded to few different lengths; what goes beyond `max_length` ids is cut off, with a warning."""

  reader: Vocabulary | WordPieces
  max_length: int

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """int32 [num, length], padded with negative numbers; length is a power of two from SHORTEST on, or the largest."""
    if isinstance(self.reader, WordPieces):
      self.reader.warn_of_cuts(texts)
    tokens = self._cut(self.reader.encode(texts))
    length = min(power_of_two(max(tokens.shape[1], SHORTEST)), self.max_length)
    return np.pad(tokens, ((0, 0), (0, length - tokens.shape[1])), constant_values=PADDING)

  def _cut(self, tokens: np.ndarray) -> np.ndarray:
    if tokens.shape[1] > self.max_length:
      num_cut = int((tokens[:, self.max_length] != PADDING).sum())
      message = "%d of %d texts have more than the %d words that this bundle takes; the rest of each is cut off"
      logging.getLogger(__name__).warning(message, num_cut, len(tokens), self.max_length)
    return tokens[:, : self.max_length]


def power_of_two(number: int) -> int:
  """The smallest one that is at least `number`."""
  return 1 << (number - 1).bit_length()


def read_tokens(folder: pathlib.Path, text: Mapping[str, Any]) -> TokenBatches:
  """From a bundle's folder and the `text` part of its description; raises InputError when the file is no such thing."""
  if text["kind"] != WORDS:
    return TokenBatches(WordPieces.from_file(folder / TEXT_FILES[WORD_PIECES], text["max_length"]), text["max_length"])
  file = folder / TEXT_FILES[WORDS]
  words = read_json(file)
  if not is_texts(words):
    raise InputError(f"{file} is no list of words")
  return TokenBatches(Vocabulary(tuple(words)), text["max_length"])
