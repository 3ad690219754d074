"""Captions alone, without any image, as LinCIR is trained: a masked caption and its own feature give the caption."""

from collections.abc import Iterable, Mapping, Sequence
import functools
from typing import Any, ClassVar, NamedTuple

from data_pipelines.datasets.alone.images import PROTOCOLS
from data_pipelines.datasets.alone.keywords import cleaned, keywords, masked, tagged
from data_pipelines.datasets.annotations import check_text, numbered_lines
from data_pipelines.datasets.builder import FEATURES, TableBuilder
from data_pipelines.datasets.catalogue.hub_rows import FIELDS, read_hub_rows
from data_pipelines.datasets.catalogue.row_files import Columns, read_rows, Row
from data_pipelines.datasets.catalogue.rows import BETWEEN_NAMES, is_hub, source_fingerprint
from data_pipelines.datasets.tables.rows import Image, Query
from data_pipelines.field_rules import SHARE, text
from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path
from data_pipelines.texts.drawn_names import drawn, number_of

COLUMNS = Columns(("caption",), ("keywords",), lists=("keywords",))


class Caption(NamedTuple):
  """A cleaned caption, and the keywords that its row gives."""

  text: str
  keywords: Sequence[str] = ()


class CaptionsAlone(TableBuilder):
  """A row of the image table is a caption: its feature stands for an image's.

  A query leads from a caption's feature, by the caption with a placeholder for its keywords, back to the caption.
  Recall says how well a word that is made of the feature stands for the keywords.
  """

  TEXT_QUERIES = ("modification",)
  PROTOCOLS = PROTOCOLS
  OPTIONS: ClassVar = {"captions": text, "tagger": text, "test_share": SHARE}
  images_are_texts = True

  @classmethod
  def fingerprinted(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options, and the content of the file."""
    return {**options, "rows": source_fingerprint(options["captions"])}

  def columns(self) -> dict[str, Any]:
    """The table of images holds texts alone."""
    return dict(FEATURES["labels"]) if self.builder_config.name == "images" else super().columns()

  def read_images(self, split: str) -> Sequence[Image]:
    """The captions, in their order; `test_share` of the distinct ones are for test."""
    return [Image(str(row), caption.text, b"") for row, caption in self._split(split)]

  def read_queries(self, split: str) -> Sequence[Query]:
    """One from each caption to itself."""
    texts, given = zip(*(caption for _, caption in self._split(split)), strict=True)
    are_given = any(caption.keywords for caption in self._captions)
    found = given if are_given else map(keywords, tagged(texts, self.options["tagger"]))
    around = [masked(text, words, _any_piece(text)) for text, words in zip(texts, found, strict=True)]
    return [Query(row, own, own, text) for row, (own, text) in enumerate(zip(around, texts, strict=True))]

  def _split(self, split: str) -> list[tuple[int, Caption]]:
    share = self.options["test_share"]
    rows = [
      (row, caption) for row, caption in enumerate(self._captions) if drawn(caption.text, share) == (split == "test")
    ]
    if not rows:
      raise InputError(
        f"{self.options['captions']}: of {len(self._captions):,} captions config.data.test_share={share} leaves none "
        f"for {split}"
      )
    return rows

  @functools.cached_property
  def _captions(self) -> list[Caption]:
    return read_captions_alone(self.options["captions"])


def read_captions_alone(source: str) -> list[Caption]:
  """The captions of a text file, one a line, or of the column `caption` of a file of rows or a Hugging Face data set.

  A column `keywords`, a list or a text with BETWEEN_NAMES between them, gives a caption its own. Blank lines are left
  out, and captions of which cleaning leaves nothing. Raises InputError where there is no file, no caption, or one that
  is no text.
  """
  if not source:
    raise InputError("config.data.captions is '', expected a file of captions: .txt, .csv, .jsonl, .parquet or hf:NAME")
  captions = []
  for where, fields in _rows(source):
    check_text(fields["caption"], where)
    words = fields["keywords"]
    words = words.split(BETWEEN_NAMES) if isinstance(words, str) else words
    captions.append(
      Caption(cleaned(fields["caption"]).strip(), [cleaned(word).strip() for word in words if word.strip()])
    )
  captions = [caption for caption in captions if caption.text]
  if not captions:
    raise InputError(f"{source}: no captions")
  return captions


def _rows(source: str) -> Iterable[Row]:
  if is_hub(source):
    return read_hub_rows(source, COLUMNS)[0]
  path = local_path(source, FIELDS)
  if path.suffix.lower() != ".txt":
    return read_rows(path, COLUMNS)
  return [Row(f"{path}:{number}", {"caption": line, "keywords": ""}) for number, line in numbered_lines(path)]


def _any_piece(caption: str) -> str:
  """A piece between blanks, always the same of the same caption."""
  pieces = caption.split()
  return pieces[number_of(caption) % len(pieces)] if pieces else ""
