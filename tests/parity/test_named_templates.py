"""Evaluations on CIRCO's and FashionIQ's real annotations, with stand-ins for the images, name the published texts."""

import json
import os
import pathlib

import pytest

from composeret_jax.training.train import train
from configs import circo, fashion_iq
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.circo import IMAGE_INFO, IMAGES
from data_pipelines.datasets.fashion_iq import FashionIQ
from data_pipelines.datasets.tables.rows import SUBMISSION
from tests.fakes import tiny, tiny_datasets
from tests.parity import archives

NAMES = {"magic_lens": "MagicLens", "lincir": "LinCIR", "bge_vl": "BGE-VL (MegaPairs)"}
OPTIONS = {"categories": ("dress",), "allow_missing_images": True}
NUM_STAND_INS = 16  # different pictures; the others are copies

pytestmark = pytest.mark.slow  # thousands of images are prepared, and every query is encoded for each template


@pytest.fixture(scope="module")
def published():
  path = pathlib.Path(os.environ.get("COMPOSERET_GOLDEN", ".")) / "zero_shot" / "zero_shot.json"
  if not path.is_file():
    pytest.skip(f"{path} is not there")
  return json.loads(path.read_text())


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
  """Encoded images."""
  folder = tmp_path_factory.mktemp("stand_ins")
  for number in range(NUM_STAND_INS):
    tiny_datasets.write_image(folder / f"{number}.png", number)
  return [(folder / f"{number}.png").read_bytes() for number in range(NUM_STAND_INS)]


@pytest.fixture(scope="module")
def circo_folder(tmp_path_factory, stand_ins):
  """All images that the annotations name."""
  root = archives.unpack("circo_annotations", tmp_path_factory.mktemp("circo"))
  ids = set()
  for split in ("val", "test"):
    for query in json.loads((root / "annotations" / f"{split}.json").read_text()):
      ids |= {query["reference_img_id"], *query.get("gt_img_ids", ())}
  (root / IMAGE_INFO).write_text(json.dumps({"images": [{"id": image} for image in sorted(ids)]}))
  (root / IMAGES).mkdir()
  for image in ids:
    (root / IMAGES / f"{image:012d}.jpg").write_bytes(stand_ins[image % NUM_STAND_INS])
  return root


@pytest.fixture(scope="module")
def fashion_iq_folder(tmp_path_factory, stand_ins):
  """All images of the validation dresses, and those of the first training query."""
  root = archives.unpack("fashion_iq_annotations", tmp_path_factory.mktemp("fashion_iq"))
  (root / "images").mkdir()
  first = json.loads((root / "captions" / "cap.dress.train.json").read_text())[0]
  named = json.loads((root / "image_splits" / "split.dress.val.json").read_text())
  for number, name in enumerate([first["candidate"], first["target"], *named]):
    (root / "images" / f"{name}.jpg").write_bytes(stand_ins[number % NUM_STAND_INS])
  assert FashionIQ.missing_images(root, OPTIONS)
  return root


def configured(module, folder, prepared):
  """A tiny sum of image and text on the data in `folder`."""
  config, small = module.get_config("sum"), tiny.config(folder, prepared)
  config.data.update(dir=str(folder), prepared_dir=str(prepared), image_size=8, num_workers=0)
  config.model.image_encoder.update(small.model.image_encoder)
  config.model.text_encoder.update(embedding_dim=16, feature_dim=16, words="unicode")
  config.text_query, config.num_train_steps = "modification", 0
  return config


def check_named(config, template, workdir, capsys):
  """The table and the line of metrics name the published template."""
  train(config, workdir)
  expected = template if isinstance(template, str) else " | ".join(template)
  (line,) = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  assert line["texts"] == expected
  assert f", texts {expected}: " in capsys.readouterr().out
  return line


@pytest.mark.parametrize("preset", NAMES)
def test_circo(circo_folder, tmp_path_factory, tmp_path, published, preset, capsys):
  config = configured(circo, circo_folder, tmp_path_factory.getbasetemp() / "prepared_circo")
  config.text_template = preset
  template = published[NAMES[preset]]["benchmarks"]["CIRCO"]["template"]
  line = check_named(config, template, tmp_path / "run", capsys)
  assert 0 <= line["eval/mAP@5"] <= 1
  (raw,) = json.loads((circo_folder / "annotations" / "val.json").read_text())[:1]
  fields = {"caption": raw["relative_caption"], "shared_concept": raw["shared_concept"]}
  dataset = open_dataset(config.data, "modification", templates=[preset])
  assert dataset.queries.texts[0] == template.format(**fields) and len(dataset.queries) == 220


def test_bge_vls_published_example_is_a_text_of_circo(circo_folder, tmp_path_factory, published):
  config = configured(circo, circo_folder, tmp_path_factory.getbasetemp() / "prepared_circo")
  texts = open_dataset(config.data, "modification", SUBMISSION, ["bge_vl"]).queries.texts
  assert published[NAMES["bge_vl"]]["benchmarks"]["CIRCO"]["example"] in texts


@pytest.mark.parametrize("preset", NAMES)
def test_fashion_iq(fashion_iq_folder, tmp_path_factory, tmp_path, published, preset, capsys):
  config = configured(fashion_iq, fashion_iq_folder, tmp_path_factory.getbasetemp() / "prepared_fashion_iq")
  config.data.update(OPTIONS)
  config.text_template = preset
  benchmark = published[NAMES[preset]]["benchmarks"]["FashionIQ"]
  line = check_named(config, benchmark["template"], tmp_path / "run", capsys)
  assert line["eval/headline"] == (line["eval/dress/R@10"] + line["eval/dress/R@50"]) / 2
  (raw,) = json.loads((fashion_iq_folder / "captions" / "cap.dress.val.json").read_text())[:1]
  strips = benchmark.get("strip_each_caption_of")
  captions = {f"caption_{number}": own.strip(strips) if strips else own for number, own in enumerate(raw["captions"])}
  texts = [benchmark["template"]] if isinstance(benchmark["template"], str) else benchmark["template"]
  queries = open_dataset(config.data, "modification", templates=[preset]).queries
  assert [queries.texts[0], *(queries.variants[0] if queries.variants else ())] == [
    text.format(**captions) for text in texts
  ]
  assert len(queries) == 2017
