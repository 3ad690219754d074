"""The presets of templates are the published strings."""

import json
import os
import pathlib

import pytest

from data_pipelines.texts.templates import PRESETS

NAMES = {
  "magic_lens": "MagicLens",
  "lincir": "LinCIR",
  "searle": "SEARLE",
  "pic2word": "Pic2Word",
  "bge_vl": "BGE-VL (MegaPairs)",
}
DATASETS = {
  "circo": "CIRCO",
  "cirr": "CIRR",
  "fashion_iq": "FashionIQ",
  "genecis": "GeneCIS",
  "imagenet_domains": "DTIN",
  "coco_objects": "COCO",
}
# The published line joins the other classes inside; here they are a field.
OTHER_CLASSES = '{other classes joined by " and "}'


@pytest.fixture(scope="module")
def published():
  path = pathlib.Path(os.environ.get("COMPOSERET_GOLDEN", ".")) / "zero_shot" / "zero_shot.json"
  if not path.is_file():
    pytest.skip(f"{path} is not there")
  return json.loads(path.read_text())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_a_preset_is_what_is_published(published, preset, dataset):
  expected = published[NAMES[preset]]["benchmarks"].get(DATASETS[dataset], {})
  template = expected.get("template")
  if template is None:
    assert dataset not in PRESETS[preset]
    return
  own = PRESETS[preset][dataset]
  texts = (template,) if isinstance(template, str) else tuple(template)
  assert own.texts == tuple(text.replace(OTHER_CLASSES, "{other_classes}") for text in texts)
  assert own.strips == expected.get("strip_each_caption_of", "")
