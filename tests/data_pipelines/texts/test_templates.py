"""Texts in templates, of data sets that list queries and of those that draw them."""

import json

import pytest

from configs import circo, fashion_iq
from data_pipelines.dataset import open_dataset
from data_pipelines.input_error import InputError
from data_pipelines.texts.templates import mistake_of_template, text_template
from tests.fakes import tiny_datasets


def opened(module, make, tmp_path, templates, **fields):
  config = module.get_config()
  config.data.dir, config.data.prepared_dir = str(make(tmp_path / "raw")), str(tmp_path / "prepared")
  config.data.update(**fields)
  return open_dataset(config.data, "modification", templates=templates)


def test_fashion_iq_in_both_orders_of_its_captions(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  template = text_template(["lincir"], "fashion_iq")
  dataset = opened(fashion_iq, lambda _: raw, tmp_path, ["lincir"])
  (category,) = set(dataset.queries.groups[:1])
  first = json.loads((raw / "captions" / f"cap.{category}.val.json").read_text())[0]["captions"]
  one, two = (caption.strip(".?, ") for caption in first)
  assert dataset.queries.texts[0] == f"a photo of $ that {one} and {two}"
  assert dataset.queries.variants[0] == (f"a photo of $ that {two} and {one}",)
  assert all(text.startswith("a photo of $ that ") for text in dataset.train_triplets.texts())
  assert dataset.text_names == str(template) and str(template) in dataset.title


def test_circos_shared_concept(tmp_path):
  raw = tiny_datasets.make_circo(tmp_path / "raw")
  file = raw / "annotations" / "val.json"
  queries = json.loads(file.read_text())
  file.write_text(json.dumps([query | {"shared_concept": f"thing {i}"} for i, query in enumerate(queries)]))
  dataset = opened(circo, lambda _: raw, tmp_path, ["magic_lens"])
  assert dataset.queries.texts[1] == f"find thing 1 but {queries[1]['relative_caption']}"
  assert dataset.queries.variants == ()


def test_a_field_that_the_files_lack_is_named(tmp_path):
  with pytest.raises(InputError, match="has shared_concept, expected caption, caption_0, caption_1"):
    opened(fashion_iq, tiny_datasets.make_fashion_iq, tmp_path, ["{shared_concept}"])


def test_drawn_triplets_have_texts_in_the_template(config):
  plain = open_dataset(config.data, "modification")
  dataset = open_dataset(config.data, "modification", templates=["an image that is {caption}"])
  assert dataset.train_triplets.texts() == [f"an image that is {text}" for text in plain.train_triplets.texts()]
  assert dataset.queries.texts == [f"an image that is {text}" for text in plain.queries.texts]


def test_a_preset_without_a_text_for_the_data_set():
  with pytest.raises(InputError, match="no text for cirr is published, only for circo, fashion_iq"):
    text_template(["magic_lens"], "cirr")


@pytest.mark.parametrize("value", ["a photo", "{", "{0}", "{caption!r}", "{caption:>9}", "{caption.x}", "{}"])
def test_what_is_no_template(value):
  assert "a text with fields in braces" in mistake_of_template(value)


@pytest.mark.parametrize("value", ["", "lincir", "{caption}", "find {shared_concept} but {caption}"])
def test_what_is_a_template(value):
  assert mistake_of_template(value) == ""
