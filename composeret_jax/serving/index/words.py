"""Which images have which words in their caption or id, and the word that a mistyped one may stand for."""

from collections.abc import Iterable, Sequence
import itertools
import re

import numpy as np

WORD = re.compile(r"\w+")
MOST_WORDS = 32  # of a search that are looked for: each is compared with every word that captions have
LEAST_LIKENESS = 0.66  # of two words that may be meant for each other: one letter of three may differ


class CaptionWords:
  """The words of many texts, by row."""

  def __init__(self, texts: Iterable[str]):
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
      for word in set(WORD.findall(text.casefold())):
        rows.setdefault(word, []).append(row)
    self._rows = {word: np.array(places, np.int64) for word, places in rows.items()}

  def find(self, words: str) -> np.ndarray | None:
    """The rows, in their order, that have each of the words, at any place in a word; None where there are no words."""
    if not words.strip():
      return None
    wanted = first_words(WORD.findall(words.casefold()))
    found: np.ndarray | None = None
    for word in wanted:
      own = [rows for known, rows in self._rows.items() if word in known]
      having = np.unique(np.concatenate(own)) if own else np.zeros(0, np.int64)
      found = having if found is None else np.intersect1d(found, having, assume_unique=True)
      if not len(found):
        break
    return np.zeros(0, np.int64) if found is None else found

  def unfound(self, words: str) -> dict[str, str | None]:
    """The words that no text has, each with the most similar one that texts have."""
    wanted = first_words(WORD.findall(words.casefold()))
    lacking = [word for word in wanted if not any(word in known for known in self._rows)]
    return {word: self._nearest(word) for word in lacking}

  def _nearest(self, word: str) -> str | None:
    from rapidfuzz import distance, process  # needed by the page alone

    similarity = distance.OSA.normalized_similarity
    found = process.extract(word, list(self._rows), scorer=similarity, score_cutoff=LEAST_LIKENESS, limit=5)
    # Of equally similar words the one that more texts have.
    best = max(found, key=lambda it: (it[1], len(self._rows[it[0]])), default=None)
    return best[0] if best else None


def first_words(words: Iterable[str]) -> list[str]:
  """The first MOST_WORDS different words, in their order."""
  return list(itertools.islice(dict.fromkeys(words), MOST_WORDS))


def spread(ids: Sequence[str], limit: int, offset: int = 0) -> list[str]:
  """Some of the ids in a fixed order in which neighbours are far apart: every id is there once."""
  num = len(ids)
  step = max(1, round(num * 0.618))
  while np.gcd(step, num) > 1:
    step += 1
  return [ids[place * step % num] for place in range(offset, min(offset + limit, num))]
