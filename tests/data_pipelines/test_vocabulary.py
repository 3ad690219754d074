import pytest

from data_pipelines.texts.vocabulary import Vocabulary, WordsOfTexts


def test_words_are_numbered_as_they_appear():
  vocabulary = Vocabulary.from_texts(["Old, cat!", "old DOG"])
  assert vocabulary.words == ("old", "cat", "dog")
  assert vocabulary.size == 4
  assert vocabulary.ids("dog-old old unknown") == [0, 1, 0]


def test_words_of_texts_with_the_most_in_one_and_the_texts_of_none():
  read = WordsOfTexts.of(["Old, cat!", "?", "a DOG-old cat's tail", "?", ""], "ascii")
  assert read == WordsOfTexts(("old", "cat", "a", "dogold", "cats", "tail"), 4, ["?", ""])
  assert WordsOfTexts.of(["dog-old"], "unicode").words == ("dog", "old")


def test_texts_are_padded_to_the_longest():
  vocabulary = Vocabulary.from_texts(["a b c"])
  assert vocabulary.encode(["c", "a b", ""]).tolist() == [[3, -1], [1, 2], [-1, -1]]
  assert vocabulary.encode(["c"], length=3).tolist() == [[3, -1, -1]]


def test_nothing_is_cut_off():
  with pytest.raises(ValueError, match="3 words, at most 2"):
    Vocabulary.from_texts(["a"]).encode(["a a a"], length=2)
