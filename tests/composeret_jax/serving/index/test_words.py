"""Words of searches, whatever their number."""

import contextlib

from composeret_jax.serving.index.words import MOST_WORDS
from tests.fakes.tiny_index import new_index


def test_no_more_than_a_few_words_are_looked_for(location):
  with contextlib.closing(new_index(location, 3)) as index:
    many = " ".join(f"x{number}" for number in range(2000))
    assert list(index.unfound(f"caption caption 002 {many}")) == [f"x{number}" for number in range(MOST_WORDS - 2)]
    there = " ".join(["caption", "of", "002"] * MOST_WORDS)  # each counts once
    assert index.find(there, 5) == ["002"]
    assert index.find(f"{there} 001", 5) == []
    # 33 different parts of words that are there.
    parts = " ".join(word[start:end] for word in ("caption", "002") for end in range(8) for start in range(end))
    assert index.find(f"{parts} nobody", 5) == index.find("002", 5) == ["002"]
