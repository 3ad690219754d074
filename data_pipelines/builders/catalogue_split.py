"""Which rows of a catalogue are trained on and which are test queries, where the rows do not say it themselves."""

from collections.abc import Iterable, Sequence
import hashlib

from data_pipelines.builders.catalogue_rows import Example, SPLITS


def split_triplets(examples: Sequence[Example], test_share: float) -> dict[str, list[Example]]:
  """Rows by split. Without a column `split`, rows are for test whose target is drawn, by its name.

  Left out are then all other rows that share an image with one of these: no image of a test query is trained on.
  """
  if examples[0].split:
    return _by_column(examples)
  test = [example for example in examples if drawn(example.images[1], test_share)]
  tested = named_images(test)
  return {"train": [example for example in examples if tested.isdisjoint(example.images)], "test": test}


def split_captions(examples: Sequence[Example], test_share: float) -> dict[str, list[Example]]:
  """The same for images with captions: without a column `split`, a caption's images are all on one side."""
  if examples[0].split:
    return _by_column(examples)
  split = {"train": [], "test": []}
  for example in examples:
    split["test" if drawn(example.text, test_share) else "train"].append(example)
  return split


def named_images(examples: Iterable[Example]) -> set[str]:
  """All images that these rows name."""
  return {name for example in examples for name in example.images}


def drawn(name: str, share: float) -> bool:
  """Whether `name` is among the `share` of all names; always the same for the same name."""
  return number_of(name) < share * 2**64


def number_of(name: str) -> int:
  """A number of 64 bits, as if drawn at random, but the same for the same name."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _by_column(examples: Sequence[Example]) -> dict[str, list[Example]]:
  return {split: [example for example in examples if example.split == split] for split in SPLITS}
