"""Evaluations on CIRCO's and FashionIQ's real annotations, with stand-ins for the images, name the published texts."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from composeret_jax.command.workdir_config import get_config
from configs import circo
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.circo import IMAGE_INFO, IMAGES
from data_pipelines.datasets.fashion_iq import CATEGORIES
from data_pipelines.datasets.tables.rows import SUBMISSION
from tests.fakes import tiny_datasets, tiny_tower
from tests.parity import archives

ROOT = pathlib.Path(__file__).parents[2]
NAMES = {"magic_lens": "MagicLens", "lincir": "LinCIR", "bge_vl": "BGE-VL (MegaPairs)"}
# What makes a preset's configuration fit tiny towers.
SMALL = {"magic_lens": ["--config.model.composer_options.num_heads=2"], "lincir": [], "bge_vl": []}
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
  """All images of the validation split, and of each category's first training query."""
  root = archives.unpack("fashion_iq_annotations", tmp_path_factory.mktemp("fashion_iq"))
  names = set()
  for category in CATEGORIES:
    first = json.loads((root / "captions" / f"cap.{category}.train.json").read_text())[0]
    names |= {first["candidate"], first["target"]}
    names |= set(json.loads((root / "image_splits" / f"split.{category}.val.json").read_text()))
  (root / "images").mkdir()
  for number, name in enumerate(sorted(names)):
    (root / "images" / f"{name}.jpg").write_bytes(stand_ins[number % NUM_STAND_INS])
  return root


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
  """Runs launch.py's configuration of a preset on tiny towers without training; then its --mode=eval, whose output."""
  tower = tiny_tower.make(tmp_path_factory.mktemp("tower"))
  prepared = tmp_path_factory.mktemp("prepared")

  def launched(preset, dataset, folder, workdir, *overrides):
    config = [
      f"--config={ROOT}/configs/{preset}.py:base,{dataset}",
      f"--config.data.dir={folder}",
      f"--config.data.prepared_dir={prepared}",
      f"--config.data.image_size={tiny_tower.IMAGE_SIZE}",
      "--config.data.num_workers=0",
      f"--config.model.image_encoder.pretrained={tower}",
      f"--config.model.text_encoder.path={tower}",
      "--config.num_train_steps=0",
      "--config.eval.batch_size=1024",
      *SMALL[preset],
      *overrides,
    ]
    for arguments in (config, ["--mode=eval"]):
      command = [sys.executable, str(ROOT / "launch.py"), *arguments, f"--workdir={workdir}"]
      done = subprocess.run(command, capture_output=True, text=True, timeout=900)
      assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

  return launched


def check_named(workdir, printed, template, num_queries):
  """The tables, eval.json and the line of metrics name the published template; returns the metrics of eval.json."""
  expected = template if isinstance(template, str) else " | ".join(template)
  assert f", texts {expected}: {num_queries:,} queries" in printed
  (line,) = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  (split,) = json.loads((workdir / "eval.json").read_text())["splits"].values()
  assert line["texts"] == split["texts"] == expected
  assert split["num_queries"] == num_queries
  return split["metrics"]


def evaluated_texts(workdir):
  """For each query of the run in `workdir` the texts that it is composed with."""
  config = get_config(str(workdir))
  templates = [config.text_template, *config.text_variants]
  queries = open_dataset(config.data, config.text_query, templates=templates).queries
  variants = queries.variants or [()] * len(queries)
  return [(text, *others) for text, others in zip(queries.texts, variants, strict=True)]


def filled(benchmark, queries):
  """The published templates of a benchmark for each of `queries`, fields by name."""
  template, strips = benchmark["template"], benchmark.get("strip_each_caption_of", "")
  texts = []
  for fields in queries:
    fields = {name: own.strip(strips) if strips else own for name, own in fields.items()}
    texts.append(tuple(text.format(**fields) for text in ([template] if isinstance(template, str) else template)))
  return texts


@pytest.mark.parametrize("preset", NAMES)
def test_circo(circo_folder, launch, tmp_path, published, preset):
  benchmark = published[NAMES[preset]]["benchmarks"]["CIRCO"]
  printed = launch(preset, "circo", circo_folder, tmp_path)
  raw = json.loads((circo_folder / "annotations" / "val.json").read_text())
  metrics = check_named(tmp_path, printed, benchmark["template"], len(raw))
  assert 0 <= metrics["mAP@5"] <= 1
  queries = [{"caption": own["relative_caption"], "shared_concept": own["shared_concept"]} for own in raw]
  assert evaluated_texts(tmp_path) == filled(benchmark, queries)


@pytest.mark.parametrize("preset", NAMES)
def test_fashion_iq(fashion_iq_folder, launch, tmp_path, published, preset):
  benchmark = published[NAMES[preset]]["benchmarks"]["FashionIQ"]
  printed = launch(preset, "fashion_iq", fashion_iq_folder, tmp_path, "--config.data.allow_missing_images=True")
  raw = [
    query
    for category in CATEGORIES
    for query in json.loads((fashion_iq_folder / "captions" / f"cap.{category}.val.json").read_text())
  ]
  metrics = check_named(tmp_path, printed, benchmark["template"], len(raw))
  assert metrics["headline"] == (metrics["mean/R@10"] + metrics["mean/R@50"]) / 2
  queries = [{f"caption_{number}": own for number, own in enumerate(query["captions"])} for query in raw]
  assert evaluated_texts(tmp_path) == filled(benchmark, queries)


def test_bge_vls_published_example_is_a_text_of_circo(circo_folder, tmp_path, published):
  config = circo.get_config("sum")
  config.data.update(dir=str(circo_folder), prepared_dir=str(tmp_path), image_size=8, num_workers=0)
  texts = open_dataset(config.data, "modification", SUBMISSION, ["bge_vl"]).queries.texts
  assert published[NAMES["bge_vl"]]["benchmarks"]["CIRCO"]["example"] in texts
