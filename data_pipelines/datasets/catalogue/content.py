"""The images and queries for training and test that a catalogue's folder and rows give, and what is left out."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from data_pipelines.datasets.annotations import excerpt
from data_pipelines.datasets.catalogue.rows import Example, read_captions, read_triplets, Source, SPLITS
from data_pipelines.datasets.sibling_queries import sibling_queries
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.folders import list_files, Listing
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import SUFFIXES
from data_pipelines.texts.drawn_names import drawn
from data_pipelines.texts.words import unicode_words


def split_triplets(examples: Sequence[Example], test_share: float) -> dict[str, list[Example]]:
  """Rows by split. Without a column `split`, rows are for test whose target is drawn, by its name.

  Left out are then all other rows that share an image with one of these: no image of a test query is trained on.
  """
  if examples[0].split:
    return {split: [example for example in examples if example.split == split] for split in SPLITS}
  test = [example for example in examples if drawn(example.images[1], test_share)]
  tested = named_images(test)
  return {"train": [example for example in examples if tested.isdisjoint(example.images)], "test": test}


def split_captions(examples: Sequence[Example], test_share: float) -> dict[str, list[Example]]:
  """The same for images with captions: without a column `split`, a caption's images are all on one side."""
  if examples[0].split:
    return split_triplets(examples, test_share)
  split: dict[str, list[Example]] = {"train": [], "test": []}
  for example in examples:
    split["test" if drawn(example.text, test_share) else "train"].append(example)
  return split


def named_images(examples: Iterable[Example]) -> set[str]:
  """All images that these rows name."""
  return {name for example in examples for name in example.images}


Found = Mapping[str, Any]  # what an image's `content` may be, by name


Split = Mapping[str, Sequence[Example]]


@dataclasses.dataclass(frozen=True)
class Content:
  """Images and queries by split; the images that are missing, what is left out for want of them, and what to say."""

  images: Mapping[str, Sequence[Image]]
  queries: Mapping[str, Sequence[Query]]
  missing: Sequence[str] = ()
  num_left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  notes: Sequence[str] = ()


def read_content(folder: pathlib.Path | None, options: Mapping[str, Any]) -> Content:
  """All of it; raises InputError for rows that cannot be used, and where there are no images or no test queries."""
  listing = list_files(folder, SUFFIXES) if folder else Listing({}, ())
  found = listing.files
  source = options["triplets"] or options["captions"]
  if source:
    if options["triplets"]:
      read = read_triplets(source, negatives=options["negatives_per_query"] > 0)
      content = _with_triplets(source, read, options["test_share"], folder, found)
    else:
      content = _with_captions(source, options["test_share"], folder, found)
    trains_only = bool(options["triplets"]) and options["test_share"] == 0
    if not content.queries["test"] and not content.missing and not trains_only:
      raise InputError(f"{source}: no query to test on: {_in_place_of_queries(content, options)}")
  elif found:
    images = {"train": (), "test": [Image(name, name, path) for name, path in found.items()]}
    content = Content(images, {"train": (), "test": ()})
  else:
    raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
  used = {image.name for images in content.images.values() for image in images}
  note = listing.note(folder, used) if folder else ""
  return dataclasses.replace(content, notes=[*content.notes, note]) if note else content


def _in_place_of_queries(content: Content, options: Mapping[str, Any]) -> str:
  """The test images and captions that there are, and the rows that would give queries."""
  if options["triplets"]:
    return "no row is for test, expected rows with split test, or a larger config.data.test_share (or 0, for no test)"
  num_images, num_test = sum(map(len, content.images.values())), len(content.images["test"])
  num_captions = len({image.label for image in content.images["test"]})
  return (
    f"{num_test:,} of {num_images:,} images are for test, with {num_captions:,} captions of which no two differ in one "
    "word, expected captions that do, more rows with split test, or a larger config.data.test_share"
  )


def _with_triplets(source: str, read: Source, test_share: float, folder: pathlib.Path | None, found: Found) -> Content:
  """Labels are names. The gallery has all images but those that are only trained on; without a test query, all."""
  examples, own_images = read
  found = _with_named({**found, **own_images}, folder, examples)
  split = split_triplets(examples, test_share)
  kept, missing, num_left_out = _answerable(split, found)
  trained, tested = (named_images(kept[name]) for name in SPLITS)
  names = {"train": sorted(trained), "test": sorted(tested | (found.keys() - trained) if tested else found)}
  images = {split: [Image(name, name, found[name]) for name in own] for split, own in names.items()}
  rows = {split: {name: row for row, name in enumerate(own)} for split, own in names.items()}
  queries = {
    "train": [_query(rows["train"], example) for example in kept["train"]],
    "test": [_query(rows["test"], single) for example in kept["test"] for single in _one_for_each_text(example)],
  }
  num_apart = len(examples) - sum(map(len, split.values()))
  notes = [
    f"{source}: {len(split['train']):,} rows to train on, {len(split['test']):,} to test on, {num_apart:,} left out "
    "because they share an image with a row to test on"
  ]
  if trained & tested:
    notes.append(f"{source}: {len(trained & tested):,} images of rows to test on are trained on too")
  return Content(images, queries, missing, num_left_out, notes)


def _query(rows: Mapping[str, int], example: Example) -> Query:
  reference, target, *negatives = example.images
  return Query(
    rows[reference],
    example.text,
    f"{example.category} {example.text}" if example.category else example.text,
    target,
    example.category,
    negatives=tuple(negatives),
    alternatives=example.alternatives,
  )


def _one_for_each_text(example: Example) -> list[Example]:
  """The test queries of an example: one for each of its texts, without negatives."""
  own = example._replace(images=example.images[:2], alternatives=())
  return [own._replace(text=text) for text in (example.text, *example.alternatives)]


def _with_captions(source: str, test_share: float, folder: pathlib.Path | None, found: Found) -> Content:
  """Labels are captions. The gallery has the test images."""
  examples, own_images = read_captions(source)
  found = _with_named({**found, **own_images}, folder, examples)
  split = split_captions(examples, test_share)
  kept, missing, num_left_out = _answerable(split, found)
  images = {
    name: [Image(image, text, found[image], category) for (image,), text, _, category, _ in sorted(kept[name])]
    for name in SPLITS
  }
  queries = {"train": (), "test": sibling_queries(images["test"])}
  num_without = len(found.keys() - named_images(examples))
  texts = dict.fromkeys(example.text for example in examples)
  notes = [
    f"{source}: {len(split['train']):,} images to train on, {len(split['test']):,} to test on, of which "
    f"{len(queries['test']):,} are queries; {num_without:,} images have no caption and are left out"
  ]
  first_of: dict[tuple[str, ...], str] = {}
  twins = [(text, first) for text in texts if (first := first_of.setdefault(tuple(unicode_words(text)), text)) != text]
  if twins:
    notes.append(
      f"{source}: {len(twins):,} captions have the same words as others, for example {excerpt(twins[0][0])} as "
      f"{excerpt(twins[0][1])}: they count as different, though no query can tell them apart"
    )
  return Content(images, queries, missing, num_left_out, notes)


def _with_named(found: Found, folder: pathlib.Path | None, examples: Sequence[Example]) -> Found:
  """Also images that rows name and whose suffix is none of SUFFIXES."""
  others = named_images(examples) - found.keys()
  if not folder or not others:
    return found
  files = list_files(folder).files
  return {**found, **{name: files[name] for name in sorted(others & files.keys())}}


def _answerable(split: Split, found: Found) -> tuple[Split, Sequence[str], Mapping[str, int]]:
  """The rows all of whose images are there, the names of the images that are not, and how many are left out."""
  kept = {name: [e for e in examples if found.keys() >= set(e.images)] for name, examples in split.items()}
  missing: set[str] = set()
  num_left_out = {}
  for name, infix in (("test", ""), ("train", "train_")):
    own = named_images(split[name]) - found.keys()
    num_left_out[f"num_missing_{infix}images"] = len(own)
    num_left_out[f"num_missing_{infix}queries"] = len(split[name]) - len(kept[name])
    missing |= own
  return kept, sorted(missing), num_left_out
