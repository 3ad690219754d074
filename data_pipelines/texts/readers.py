"""How the loader turns a text into the numbers that a text encoder takes."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Int
import numpy as np

from data_pipelines.texts.vocabulary import Vocabulary
from data_pipelines.texts.wordpieces import WordPieces


@runtime_checkable
class TextReader(Protocol):
  """Texts to int32 numbers of one shape each, under `batch_key` in a batch. The loader's processes get a copy each."""

  batch_key: ClassVar[str]

  def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "num ..."]:
    """The numbers of each text."""
    ...


@dataclasses.dataclass(frozen=True)
class TokenReader:
  """A text's words or word pieces, by their ids, padded to `length`."""

  batch_key: ClassVar[str] = "tokens"
  tokens: Vocabulary | WordPieces
  length: int

  def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "num length"]:
    """Negative ids are padding; raises ValueError when a text has more than `length` ids."""
    return self.tokens.encode(texts, self.length)


@dataclasses.dataclass(frozen=True)
class RowReader:
  """A text's row in a table that has one row for each of `texts`, which are distinct."""

  batch_key: ClassVar[str] = "text_rows"
  texts: tuple[str, ...]

  @functools.cached_property
  def _rows(self) -> dict[str, int]:
    return {text: row for row, text in enumerate(self.texts)}

  def encode(self, texts: Sequence[str]) -> Int[np.ndarray, " num"]:
    """Raises KeyError for a text that the table lacks."""
    return np.array([self._rows[text] for text in texts], np.int32)
