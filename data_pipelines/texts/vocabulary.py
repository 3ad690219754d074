"""Words and their ids, as the LSTM text encoder of TIRG and ComposeAE has them."""

from collections.abc import Iterable, Sequence
import dataclasses
import functools

import numpy as np

from data_pipelines.texts.words import SPLITTERS

UNKNOWN = 0
PADDING = -1


@dataclasses.dataclass(frozen=True)
class WordsOfTexts:
  """The words of texts, each once in order of first appearance, the most words in a text, and the texts without any."""

  words: tuple[str, ...]
  longest: int
  wordless: Sequence[str]

  @classmethod
  def of(cls, texts: Iterable[str], splitter: str) -> "WordsOfTexts":
    """Splits each text once: of millions that takes seconds."""
    split = SPLITTERS[splitter]
    words: dict[str, None] = {}
    wordless: dict[str, None] = {}
    longest = 0
    for text in texts:
      own = split(text)
      if not own:
        wordless[text] = None
      longest = max(longest, len(own))
      words.update(dict.fromkeys(own))
    return cls(tuple(words), longest, list(wordless))


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Known words; a word's id is its place here, counted from 1. 0 is every other word.

  `splitter` names how texts are split into words: one of SPLITTERS.
  """

  words: tuple[str, ...]
  splitter: str = "ascii"

  @classmethod
  def from_texts(cls, texts: Iterable[str], splitter: str = "ascii") -> "Vocabulary":
    """All words of `texts`, in order of first appearance."""
    return cls(WordsOfTexts.of(texts, splitter).words, splitter)

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {word: i for i, word in enumerate(self.words, start=1)}

  @property
  def size(self) -> int:
    """The number of ids, with the id of unknown words."""
    return len(self.words) + 1

  def split(self, text: str) -> list[str]:
    """The words of a text, known or not."""
    return SPLITTERS[self.splitter](text)

  def unknown(self, text: str) -> list[str]:
    """The words of a text that are not known, each once."""
    return list(dict.fromkeys(word for word in self.split(text) if word not in self._ids))

  def knows(self, text: str) -> bool:
    """Whether a word of a text is known."""
    return any(self.ids(text))

  def ids(self, text: str) -> list[int]:
    """The id of each word of a text."""
    return [self._ids.get(word, UNKNOWN) for word in self.split(text)]

  def longest(self, texts: Iterable[str]) -> int:
    """The most words in a text; 0 without texts."""
    return max((len(self.split(text)) for text in texts), default=0)

  def encode(self, texts: Sequence[str], length: int | None = None) -> np.ndarray:
    """The ids of each text as int32 [num, length], padded with PADDING; by default to the longest's, at least 1.

    Raises ValueError when a text has more than `length` words: nothing is cut off silently.
    """
    return padded([self.ids(text) for text in texts], length)


def padded(rows: Sequence[Sequence[int]], length: int | None) -> np.ndarray:
  """Ids as int32 [num, length], padded with PADDING; `length` is by default the longest row's, at least 1.

  Raises ValueError when a row is longer than `length`: nothing is cut off silently.
  """
  longest = max(map(len, rows), default=0)
  length = max(longest, 1) if length is None else length
  if longest > length:
    raise ValueError(f"a text has {longest} words, at most {length} expected")
  tokens = np.full((len(rows), length), PADDING, np.int32)
  for row, ids in zip(tokens, rows, strict=True):
    row[: len(ids)] = ids
  return tokens
