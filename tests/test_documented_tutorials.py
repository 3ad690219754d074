"""The tutorials run from their own text: commands, programs and requests, on tiny data and models."""

from collections.abc import Callable
import json
import pathlib
import pickle
import re
import shutil
import urllib.request

from flax import serialization, traverse_util
import numpy as np
import pytest

from composeret_jax.command.config_files import load_config
from composeret_jax.pretrained.magic_lens import model_slots
from composeret_jax.training.run import open_run
from data_pipelines.paths import path_or_address
from tests.documented_commands import BLOCK, commands, python_blocks, ROOT
from tests.fakes import desk, tiny_datasets, tiny_tower
from tests.fakes.fake_hub import fake_hub

DOCS = ROOT / "docs"
TUTORIALS = ("your_catalogue.md", "towers.md", "bundle.md", "searching.md", "clusters.md")
# What else a line of a tutorial begins with, and why no test runs it. `composeret` inside such a line is run.
NOT_RUN = {
  "pip": "reads a registry",
  ".venv/bin/python": "benchmarks.corpora downloads pictures from a registry",
  "head": "prints two files that a test reads",
  "kubectl": "needs a Kubernetes cluster",
  "gcloud": "needs an account of Google Cloud",
  "git": "is for a host of a TPU slice",
  "python3": "is for a host of a TPU slice",
  "cd": "is for a host of a TPU slice",
  "srun": "needs Slurm",
  "export": "names the devices of Slurm's tasks, or the TPU slice",
}
# Changes the arguments of a command for a test.
Change = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A folder with a run, its bundle, and the towers that the documents name by their hub's names."""
  folder = desk.make(tmp_path_factory.mktemp("desk"))
  make_shop(folder / "data" / "shop")
  rows = ["--config.data.dir=data/shop/images", "--config.data.triplets=data/shop/triplets.csv"]
  desk.run(folder, "train", ["--config=catalogue", *rows, "--workdir=runs/shapes"])
  desk.run(folder, "export", ["--workdir=runs/shapes", "--bundle=bundles/shapes"])
  shutil.copytree(folder / "bundles" / "shapes", folder / "bundles" / "photos")
  for name in ("clip-vit-base-patch32", "clip-vit-base-patch16"):
    tiny_tower.make(folder / "openai" / name)
  return folder


@pytest.fixture
def folder(trained, tmp_path):
  """A copy for one test."""
  return pathlib.Path(shutil.copytree(trained, tmp_path / "desk"))


def run_all(folder: pathlib.Path, document: str, change: Change = list, env: dict[str, str] | None = None) -> list[str]:
  """Runs the commands of a document in their order, each once and with the change; their modes."""
  found = []
  elsewhere = commands(DOCS / document, "From use to a better model")  # test_documented_commands.py runs these
  for mode, arguments in commands(DOCS / document):
    if "..." not in arguments and (mode, arguments) not in found + elsewhere:
      desk.run(folder, mode, change(arguments), env=env)
      found.append((mode, arguments))
  return [mode for mode, _ in found]


def replaced(arguments: list[str], places: dict[str, str]) -> list[str]:
  """The arguments with other places in them."""
  for documented, here in places.items():
    arguments = [argument.replace(documented, here) for argument in arguments]
  return arguments


@pytest.mark.parametrize("document", TUTORIALS)
def test_every_line_of_a_tutorial_is_run_or_named(document):
  others = []
  for language, block in BLOCK.findall((DOCS / document).read_text()):
    lines = re.sub(r"\\\n\s*", " ", block).splitlines() if language in ("", "bash") else []
    lines = [line[2:] for line in lines if line.startswith("$ ")] or lines  # the others are what was printed
    first = [line.split()[0] for line in lines if line and not line.startswith(("#", "{")) and '="' not in line[:8]]
    others += [word for word in first if word not in ("composeret", "curl", *NOT_RUN)]
  assert others == []


def requests_of(document: str) -> list[dict]:
  """The bodies of the searches by curl."""
  blocks = "".join(block for language, block in BLOCK.findall((DOCS / document).read_text()) if language == "")
  return [json.loads(body) for body in re.findall(r"/v1/search --json[\\\s]+'(.*)'", blocks)]


def search(address: str, body: dict) -> dict:
  """The answer of a service."""
  headers = {"Content-Type": "application/json"}
  request = urllib.request.Request(f"{address}/v1/search", json.dumps(body).encode(), headers)
  with urllib.request.urlopen(request, timeout=120) as answer:
    return json.load(answer)


def make_icons(folder: pathlib.Path) -> None:
  """Icons with label files as your_catalogue.md describes them."""
  captions = [f"{what} {where}" for what in ("folder arrow", "slide arrow") for where in ("left", "right", "up")]
  lines = {"train": [], "test": []}
  for split, style, first in (("train", "filled", 10_000), ("test", "regular", 17_692)):
    for number, caption in enumerate(captions, first):
      name = f"{caption} {style}".replace(" ", "_")
      path = f"women/{caption.split()[0]}/{name}/{number}/{number}_0.jpeg"
      tiny_datasets.write_image(folder / "icons_200k" / path, number)
      lines[split].append(f"{path}\t0.9\t{caption} {style}\n")
  (folder / "icons_200k" / "labels").mkdir()
  for split, found in lines.items():
    (folder / "icons_200k" / "labels" / f"icons_{split}_detect_all.txt").write_text("".join(found))
  reference, target = (line.partition("\t")[0] for line in lines["test"][:2])
  (folder / "icons_200k" / "test_queries.txt").write_text(f"{reference} {target}\n")
  (folder / "icons").symlink_to(folder / "icons_200k" / "women")


@pytest.mark.slow  # two trainings, each with its export, index and server
def test_your_catalogue_runs(folder):
  make_icons(folder)
  [write_rows] = python_blocks(DOCS / "your_catalogue.md")
  desk.run_python(folder, write_rows)
  places = {"milvus:http://milvus:19530": "milvus:icons.db", "/shared/icons": "icons"}
  modes = run_all(folder, "your_catalogue.md", lambda arguments: replaced(arguments, places))
  assert modes == ["train", "export", "index", "serve", "prepare", "train", *modes[1:3], "search", "serve", "index"]
  [body] = requests_of("your_catalogue.md")
  with desk.served(folder, ["--bundle=bundles/icons", "--index=indexes/icons"]) as address:
    assert len(search(address, body)["results"]) == body["limit"]


@pytest.mark.slow  # a training, an import, an evaluation
def test_towers_run(folder):
  tiny_heads = ("--config.model.composer_options.num_layers=1", "--config.model.composer_options.num_heads=2")
  config = load_config("magic_lens:base,cirr")
  config.data.update(dir=str(folder / "cirr"), image_size=32, num_workers=0, prepared_dir=str(folder / "prepared"))
  config.model.composer_options.update(num_layers=1, num_heads=2)
  config.model.image_encoder.pretrained = config.model.text_encoder.path = str(folder / config.model.text_encoder.path)
  write_magic_lens(config, folder)

  def with_heads(arguments: list[str]) -> list[str]:
    return [*arguments, *(tiny_heads if "magic_lens" in arguments[0] else ())]

  assert run_all(folder, "towers.md", with_heads) == ["train", "import", "eval", "train", "save_towers"]
  assert json.loads((folder / "towers" / "stage1" / "config.json").read_text())["model_type"] == "clip"


def write_magic_lens(config, folder: pathlib.Path) -> None:
  """Random weights for the configuration, in a file as published."""
  rng = np.random.default_rng(0)
  slots = model_slots(open_run(config, folder / "any").model)
  arrays = {name: rng.normal(0, 0.2, slot.shape).astype(np.float32) for name, slot in slots.items()}
  nested = serialization.msgpack_serialize(traverse_util.unflatten_dict(arrays, sep="/"))
  (folder / "magic_lens_clip_base.pkl").write_bytes(pickle.dumps(nested, protocol=4))


@pytest.mark.slow  # two exports
def test_bundle_runs(folder):
  with fake_hub() as hub:
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_x"}
    ran = run_all(folder, "bundle.md", lambda arguments: replaced(arguments, {"ORG/NAME": "lab/shapes"}), env=env)
    assert ran == ["export", "push", "export"]
    use, from_hub, onnx = python_blocks(DOCS / "bundle.md")
    shapes = desk.run_python(folder, f"{use}\nprint(scores.shape)\n{onnx}\nprint(features.shape, norms.shape)")
    assert shapes.split() == ["(1,", "2)", "(1,", "512)", "(1,)"]
    loaded = desk.run_python(folder, f"{from_hub}\nprint(bundle)".replace("ORG/NAME", "lab/shapes", 1), env=env)
    assert "catalogue" in loaded


@pytest.mark.slow  # a training, an export, two indexes, three servers
def test_searching_runs(folder):
  for name in ("shirt.jpg", "shirts/0017.jpg", "shirts/0203.jpg", "shirts/0101.jpg"):
    tiny_datasets.write_image(folder / "photos" / name, len(name))
  modes = run_all(folder, "searching.md")
  assert modes == ["index", "search", "serve", "train", "export", "index", "serve"]
  in_python, by_http = python_blocks(DOCS / "searching.md")
  assert desk.run_python(folder, in_python)
  [body] = requests_of("searching.md")
  with desk.served(folder, ["--bundle=bundles/photos", "--index=indexes/photos"]) as address:
    assert len(search(address, body)["results"]) == 3
    found = desk.run_python(folder, by_http.replace("http://127.0.0.1:7860", address))
  assert "shirts/0203.jpg" in found


def make_shop(folder: pathlib.Path) -> None:
  """Products of the shop: their pictures, triplets and prices."""
  names = [f"{colour} {thing}" for thing in ("dress", "bag", "hat") for colour in ("red", "blue", "green")]
  for number, name in enumerate(names):
    tiny_datasets.write_image(folder / "images" / f"{name}.png", number)
  texts = ["in blue", "with stripes", "and long sleeves", "in red", "without stripes", "in green", "in blue", "in red"]
  splits = ["train"] * 5 + ["test"] * 3
  pairs = zip(names, texts, names[1:], splits, strict=False)
  rows = [f"{reference}.png,{text},{target}.png,{split}" for reference, text, target, split in pairs]
  (folder / "triplets.csv").write_text("\n".join(["reference,text,target,split", *rows]))
  (folder / "products.csv").write_text("\n".join(["image,caption,price", *(f"{it}.png,{it},9.5" for it in names)]))


@pytest.mark.slow  # three trainings, two in a bucket
def test_clusters_run(folder, bucket):
  """One process is the whole job, this machine's devices are the slice, and an emulator has the bucket."""
  for path in (folder / "mit_states").rglob("*.jpg"):
    path_or_address(f"{bucket}/{path.relative_to(folder)}", "test").write_bytes(path.read_bytes())
  for name in ("fashion200k", "mit_states"):
    shutil.copytree(folder / name, folder / "shared" / name)
  places = {
    "--text_length=77": "--text_length=12",
    "/shared/": "shared/",
    "gs://BUCKET": bucket,
    "FOLDER": "openai/clip-vit-base-patch32",
  }

  def on_one_machine(arguments: list[str]) -> list[str]:
    here = [argument for argument in replaced(arguments, places) if not argument.startswith("--topology=")]
    if "--distributed" not in here:
      return here
    job = [f"--coordinator_address=localhost:{desk.free_port()}", "--num_processes=1", "--process_id=0"]
    return [argument for argument in here if argument != "--distributed"] + job

  modes = run_all(folder, "clusters.md", on_one_machine)
  assert modes == ["train", *["compile"] * 3, "train", "eval", "export", "index", "serve", "train"]
  assert json.loads((folder / "report.json").read_text())["flops_per_device"] > 0
